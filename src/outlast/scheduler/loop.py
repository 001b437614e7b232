"""The loop that fires schedules in every worker process; the store lets each tick be taken once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final, Protocol, TypeVar

from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreError
from outlast.core.events import Event, ScheduleFailed
from outlast.core.message import TERMINAL
from outlast.core.registry import Registry
from outlast.core.schedule import ScheduleAdvance, ScheduleRecord
from outlast.core.store.store import Store
from outlast.core.ticking import TOUCH, needs_touch, orphaned, plan, position, stands_back
from outlast.scheduler.metrics import ScheduleCounts
from outlast.scheduler.planned import Compose, Planned

__all__ = ["StoreCalls", "Scheduler"]

T = TypeVar("T")

_logger = logging.getLogger("outlast.scheduler")

LOOK: Final = TOUCH
"""Seconds after which all schedules are read again: other processes may have changed them, or the clock jumped."""
TURN: Final = 1.0
"""Seconds between two checks whether the previous run has ended, while a tick waits for it."""
AGAIN: Final = 30.0
"""Seconds after which a schedule that could not fire is tried again."""
RECALL: Final = 300.0
"""Seconds after which an alarm is repeated while its cause lasts."""
SPREAD: Final = 0.05
"""The most random seconds added to a sleep, so that mostly one process fires a tick and the others see it fired."""
BATCH: Final = 1000
"""Messages after which a step publishes and ends."""


class StoreCalls(Protocol):
    """The worker's calls to its store, with a new connection when the store does not answer."""

    async def once(self, call: Callable[[Store], Awaitable[T]], *, wait: float = 0.0) -> T:
        """Return what `call(store)` returns; raise StoreError."""
        ...


class Scheduler:
    """Fires the schedules of an app. Any number of schedulers may run: each tick is published once.

    compose: makes the message of a run. emit: called with ScheduleFailed. rest: sleeps after a failure.
    """

    def __init__(
        self,
        calls: StoreCalls,
        registry: Registry,
        compose: Compose,
        *,
        clock: Clock,
        rng: Random,
        emit: Callable[[Event], None],
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls = calls
        self._registry = registry
        self._compose = compose
        self._clock = clock
        self._rng = rng
        self._emit = emit
        self._rest = rest
        self._counts = ScheduleCounts(registry.app)
        self._version = -1
        self._planned: dict[str, Planned] = {}
        self._amended = 0
        self._alarms: dict[str, tuple[str, float]] = {}
        """The last alarm of a schedule: its cause, and when (monotonic)."""
        self._retry_at: dict[str, float] = {}
        """When (monotonic) a schedule that could not fire is tried again."""

    async def declare(self) -> None:
        """Declare all schedules now; raise ConfigurationError for one of another app, and StoreError."""
        await self._records()

    async def run(self) -> None:
        """Fire until cancelled. An outage of the store or an unexpected error delays ticks and is logged."""
        while True:
            try:
                pause = await self.step()
                await self.sleep(pause)
            except StoreError as error:  # the claimer logs the outage
                _logger.debug("schedules wait for the store: %s", error)
                await self._rest(1.0 + self._rng.random())
            except ConfigurationError as error:
                for name in self._registry.schedules:
                    self._alarm(name, str(error))
                await self._rest(AGAIN)
            except Exception as error:
                _logger.exception("the scheduler failed; it tries again in %.0f s", AGAIN)
                for name in self._registry.schedules:
                    self._alarm(name, f"the scheduler failed: {error!r}")
                await self._rest(AGAIN)

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or until an operator changes a schedule."""
        since = self._amended
        self._amended = await self._calls.once(lambda store: store.schedules.amended(since, seconds), wait=seconds)

    async def step(self) -> float:
        """Fire the due ticks; return the seconds until the next step."""
        records = await self._records()
        self._look_for_orphans(records)
        mine = [
            (each, records[name])
            for name, each in self._planned.items()
            if name in records and records[name].version == each.entry.version
        ]
        busy = await self._busy([record for _, record in mine])
        now = self._clock.time()
        moves: list[ScheduleAdvance] = []
        size = 0
        for each, record in mine:
            move = self._move(each, record, now, busy=record.name in busy)
            if move is not None:
                moves.append(move)
                size += len(move.messages)
            if size >= BATCH:
                break
        if moves:
            made = await self._calls.once(lambda store: store.schedules.advance(moves))
            for move, first in zip(moves, made, strict=True):
                if first:
                    self._counts.taken(move.name, len(move.messages), move.skipped)
                if first and move.messages:
                    _logger.debug("schedule %s fired %d times", move.name, len(move.messages))
            if any(move.messages for move in moves):
                return 0.0
        return self._pause(mine, busy)

    # Records

    async def _records(self) -> dict[str, ScheduleRecord]:
        """Return all records, after declaring schedules that are new, changed, or were not declared recently."""
        if self._version != self._registry.version:
            self._version = self._registry.version
            self._planned = {
                name: Planned(scheduled, self._registry, self._compose)
                for name, scheduled in self._registry.schedules.items()
            }
            for name in self._planned:
                self._counts.declared(name)
        found = await self._calls.once(lambda store: store.schedules.schedules())
        records = {record.name: record for record in found}
        now = self._clock.time()
        entries = [
            each.entry for name, each in self._planned.items() if needs_touch(records.get(name), each.entry, now)
        ]
        if entries:
            enlisted = await self._calls.once(lambda store: store.schedules.enlist(entries))
            records.update((record.name, record) for record in enlisted)
        return records

    async def _busy(self, records: Sequence[ScheduleRecord]) -> set[str]:
        """Return the names of schedules whose last run has not ended and must not overlap with the next one."""
        exclusive = [record for record in records if record.spec.overlap != "allow" and record.last is not None]
        if not exclusive:
            return set()
        ids = [record.last for record in exclusive if record.last is not None]
        found = await self._calls.once(lambda store: store.records.get(ids))
        return {
            record.name
            for record, job in zip(exclusive, found, strict=True)
            if job is not None and job.state not in TERMINAL
        }

    # Firing

    def _move(self, each: Planned, record: ScheduleRecord, now: float, *, busy: bool) -> ScheduleAdvance | None:
        """Return the move of one schedule now, None if there is nothing to do."""
        if self._retry_at.get(record.name, 0.0) > self._clock.monotonic():
            return None
        try:
            move = self._firing(each, record, now, busy=busy)
        except Exception as error:  # an error of user code, such as key=, must not stop the other schedules
            why = each.explain(error)
            self._retry_at[record.name] = self._clock.monotonic() + AGAIN
            self._alarm(record.name, why)
            if why == record.error:
                return None
            return ScheduleAdvance(
                name=record.name, expect=record.revision, upto=record.upto, backlog=record.backlog, error=why
            )
        self._retry_at.pop(record.name, None)
        if move is not None:
            self._alarms.pop(record.name, None)
        return move

    def _firing(self, each: Planned, record: ScheduleRecord, now: float, *, busy: bool) -> ScheduleAdvance | None:
        if each.fault:
            each.message(now)  # raises the present cause; or succeeds, if the input of the user code has changed
        begin = position(record, now)
        due: list[float] = []
        passed = 0
        tick = None if record.paused else each.next_tick(record, begin)
        if tick is not None and tick <= now:
            due, passed = each.ticks(record.spec).due(begin, now, record.spec.misfire_limit)
        step = plan(record, due, passed, now=now, busy=busy)
        messages = [each.message(tick) for tick in step.fire]
        if record.asked is not None:
            messages.append(each.message(record.asked, asked=True))
        changed = messages or step.skipped or step.upto != record.upto or step.backlog != record.backlog
        if not changed and not record.error:
            return None
        return ScheduleAdvance(
            name=record.name,
            expect=record.revision,
            upto=step.upto,
            messages=tuple(messages),
            tick=step.fire[-1] if step.fire else None,
            backlog=step.backlog,
            skipped=step.skipped,
            served=record.asked is not None,
        )

    def _pause(self, mine: Sequence[tuple[Planned, ScheduleRecord]], busy: set[str]) -> float:
        """Return the seconds until the next tick or the next check."""
        now = self._clock.time()
        soonest = LOOK
        for each, record in mine:
            if record.backlog and not record.paused:
                soonest = min(soonest, TURN if record.name in busy else 0.0)
            if not record.paused and record.name not in self._retry_at:
                tick = each.next_tick(record, position(record, now))
                if tick is not None:
                    soonest = min(soonest, max(0.0, tick - now))
        return soonest + self._rng.uniform(0.0, SPREAD)

    # Alarms

    def _look_for_orphans(self, records: Mapping[str, ScheduleRecord]) -> None:
        now = self._clock.time()
        for name, record in records.items():
            each = self._planned.get(name)
            if record.app != self._registry.app or (each is not None and stands_back(record, each.entry, now)):
                continue
            if orphaned(record, now):
                self._alarm(
                    name, f"no live worker declares it any more: declare it, or run outlast schedules remove {name}"
                )

    def _alarm(self, name: str, why: str) -> None:
        """Log and emit that a schedule cannot run: at once, and every five minutes while the cause lasts."""
        now = self._clock.monotonic()
        last, at = self._alarms.get(name, ("", 0.0))
        if last == why and now - at < RECALL:
            return
        self._alarms[name] = (why, now)
        _logger.error("schedule %r cannot run: %s", name, why)
        self._counts.alarm(name)
        self._emit(ScheduleFailed(name, why))
