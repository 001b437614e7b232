"""An app whose isolated jobs call a guarded dependency; its children import it from here."""

from __future__ import annotations

from typing import Any

from outlast import Breaker, Outlast, Retry
from outlast.enqueue.job import Job
from outlast.settings import Settings

__all__ = ["app", "build"]

ONCE = Retry(attempts=1)


async def works() -> None: ...


async def gated() -> None:
    guard: Any = app.registry.guards["payments"]
    await guard.call(works)
    await guard.call(works)


async def free() -> None:
    guard: Any = app.registry.guards["payments"]
    await guard.call(works)


def build(url: str = "") -> tuple[Outlast, Job[[], None], Job[[], None]]:
    """Return a new app, the job of a queue that needs the guard, and one of a queue that does not."""
    shop = Outlast("guarded", settings=Settings(url=url) if url else None)
    payments = shop.guard("payments", breaker=Breaker(minimum=3, open_for=1, probe_lease=30, ramp=0))
    shop.queue("gated", needs=[payments])
    one = shop.job(queue="gated", isolate="process", retry=ONCE)(gated)
    return shop, one, shop.job(queue="free", isolate="process", retry=ONCE)(free)


app, _, _ = build()
