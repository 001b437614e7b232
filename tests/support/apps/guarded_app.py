"""An app whose isolated jobs call a guarded dependency; its children import it from here."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from outlast import Breaker, Outlast, Retry
from outlast.enqueue.job import Job
from outlast.settings import Settings

__all__ = ["app", "build"]

ONCE = Retry(attempts=1)


async def works() -> None: ...


async def fails() -> None:
    raise ConnectionError("down")


async def gated() -> None:
    guard: Any = app.registry.guards["payments"]
    await guard.call(works)
    await guard.call(works)


async def free() -> None:
    guard: Any = app.registry.guards["payments"]
    await guard.call(works)


async def catches() -> None:
    guard: Any = app.registry.guards["payments"]
    with suppress(ConnectionError):
        await guard.call(fails)


async def fails_later() -> None:
    guard: Any = app.registry.guards["payments"]
    await guard.call(works)
    raise ValueError("of the job itself")


def build(url: str = "") -> tuple[Outlast, dict[str, Job[[], None]]]:
    """Return a new app, and its jobs by name: all of a queue that needs the guard, but for "free"."""
    shop = Outlast("guarded", settings=Settings(url=url) if url else None)
    payments = shop.guard("payments", breaker=Breaker(minimum=3, open_for=1, probe_lease=30, ramp=0))
    shop.queue("gated", needs=[payments])
    jobs: dict[str, Job[[], None]] = {}
    for handler in (gated, catches, fails_later):
        jobs[handler.__name__] = shop.job(queue="gated", isolate="process", retry=ONCE)(handler)
    jobs["free"] = shop.job(queue="free", isolate="process", retry=ONCE)(free)
    return shop, jobs


app, _ = build()
