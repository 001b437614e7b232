"""Fire the schedules that are due by a test's clock, with the worker's own scheduler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from outlast.core.errors import ConfigurationError
from outlast.core.events import Event, ScheduleFailed
from outlast.core.schedule import ScheduleEntry
from outlast.core.store.store import Store
from outlast.enqueue.runtime import Runtime
from outlast.scheduler.loop import Scheduler
from outlast.scheduler.planned import Planned

__all__ = ["fire"]

T = TypeVar("T")


class _DirectCalls:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def once(self, call: Callable[[Store], Awaitable[T]], *, wait: float = 0.0) -> T:
        return await call(self._store)


async def fire(runtime: Runtime, begin: Callable[[list[ScheduleEntry]], None]) -> None:
    """Fire until no tick is due. begin: declares the schedules that are not known yet, as of the test's start.

    Raise ConfigurationError for a schedule that cannot run.
    """
    failed: list[ScheduleFailed] = []

    def record(event: Event) -> None:
        if isinstance(event, ScheduleFailed):
            failed.append(event)

    registry = runtime.registry
    begin([Planned(each, registry, runtime.message).entry for each in registry.schedules.values()])
    scheduler = Scheduler(
        _DirectCalls(runtime.store), registry, runtime.message, clock=runtime.clock, rng=runtime.rng, emit=record
    )
    while await scheduler.step() == 0.0:
        continue
    if failed:
        raise ConfigurationError(f"schedule {failed[0].schedule!r} cannot run: {failed[0].why}")
