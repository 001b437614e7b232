"""A scheduler in a test's hands: a store in memory, a clock that the test moves, one step at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from outlast import Outlast
from outlast.core.events import Event, ScheduleFailed
from outlast.core.schedule import Amendment, ScheduleRecord
from outlast.core.store.records import Query
from outlast.core.store.store import Store
from outlast.enqueue.runtime import Runtime
from outlast.scheduler.loop import Scheduler, StoreCalls
from outlast.testing import Testing

__all__ = ["Direct", "Shift", "scheduler_of", "shift"]

T = TypeVar("T")


@dataclass
class Direct:
    """A line to a store that is never away."""

    store: Store

    async def once(self, call: Callable[[Store], Awaitable[T]], *, wait: float = 0.0) -> T:
        """Ask the store."""
        return await call(self.store)


def scheduler_of(
    runtime: Runtime,
    app: Outlast | None = None,
    tell: Callable[[Event], None] = lambda event: None,
    *,
    line: StoreCalls | None = None,
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Scheduler:
    """Return a worker's scheduler; app: another version of the code."""
    return Scheduler(
        line or Direct(runtime.store),
        runtime.registry if app is None else app.registry,
        runtime.message if app is None else app.composer.message,
        clock=runtime.clock,
        rng=Random(0),
        emit=tell,
        rest=rest,
    )


@dataclass
class Shift:
    """One worker's scheduler."""

    testing: Testing
    runtime: Runtime
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = self.another()

    def another(self, app: Outlast | None = None) -> Scheduler:
        """Return the scheduler of another worker, or of another version of the code, on the same store."""
        return scheduler_of(self.runtime, app, self.events.append)

    async def fire(self) -> list[str]:
        """Step until there is nothing more to do; return the ids that were published, without their queue."""
        seen = set(await self._ids())
        while await self.scheduler.step() == 0.0:
            continue
        return [id.partition(".")[2] for id in await self._ids() if id not in seen]

    async def _ids(self) -> list[str]:
        page = await self.runtime.store.records.find(Query(limit=10_000))
        return [record.id for record in page.records][::-1]

    async def record(self, name: str) -> ScheduleRecord:
        """Return a schedule that must be known."""
        return {each.name: each for each in await self.runtime.store.schedules.schedules()}[name]

    async def amend(self, *changes: Amendment) -> None:
        """Change schedules; each change must be possible."""
        assert all(answer.ok for answer in await self.runtime.store.schedules.amend(changes))

    @property
    def alarms(self) -> list[str]:
        """What was told of schedules that cannot run."""
        return [event.why for event in self.events if isinstance(event, ScheduleFailed)]


@asynccontextmanager
async def shift(app: Outlast) -> AsyncIterator[Shift]:
    """Put an app's schedules into a test's hands."""
    async with app.testing() as testing:
        yield Shift(testing, await app.runtime())
