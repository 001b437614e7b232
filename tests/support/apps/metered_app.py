"""An app whose workers are counted: jobs that succeed, that fail once, that die, and that run in processes."""

from __future__ import annotations

import asyncio

from outlast import Constant, Context, Outlast, Retry
from outlast.meters import meters

__all__ = ["app", "counts", "dies", "flaky", "quick"]

app = Outlast("metered")
app.queue("fast", objective=2)

SEEN = meters.counter("metered_seen_total", "What the code of jobs has counted.", ("kind",))


@app.job(queue="fast", timeout=20)
async def quick(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


@app.job(queue="fast", retry=Retry(attempts=2, backoff=Constant(0)))
async def flaky(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise ValueError("the first time")
    return "the second"


@app.job(retry=Retry(attempts=1))
async def dies() -> None:
    SEEN.of("dies").add()
    raise ValueError("each time")


@app.job(isolate="process")
def counts(number: int) -> None:
    SEEN.of("counts").add(number)
