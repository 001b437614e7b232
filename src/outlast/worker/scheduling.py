"""The scheduler of a worker: each worker runs the loop of its app's schedules, if there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.core.errors import StoreUnavailable
from outlast.worker.ports import RuntimePort
from outlast.worker.store_link import StoreLink

if TYPE_CHECKING:
    from outlast.scheduler.loop import Scheduler

__all__ = ["scheduler_of"]


async def scheduler_of(runtime: RuntimePort, link: StoreLink) -> Scheduler | None:
    """Return the scheduler, its schedules declared; None when neither the code nor the store has one of the app."""
    try:
        if not runtime.registry.schedules:
            if not link.store.keeps_schedules():
                return None
            kept = await link.once(lambda store: store.schedules.schedules())
            if all(record.app != runtime.registry.app for record in kept):
                return None  # else a schedule that the code no longer has causes an alarm
        scheduler = _made(runtime, link)
        await scheduler.declare()
    except StoreUnavailable:
        if not link.store.broker.capabilities.spread:
            raise
        return _made(runtime, link)  # their server is away: they are declared later
    return scheduler


def _made(runtime: RuntimePort, link: StoreLink) -> Scheduler:
    from outlast.scheduler.loop import Scheduler

    return Scheduler(link, runtime.registry, runtime.message, clock=runtime.clock, rng=runtime.rng, emit=runtime.emit)
