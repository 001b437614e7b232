"""MemoryStore: the broker and all parts over tables in this process, for several loops and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from outlast.aio.look import Look, look_until
from outlast.aio.notifier import Notifier
from outlast.brokers.expansion import Expansion
from outlast.brokers.memory import delivery, records
from outlast.brokers.memory.commands import apply, check
from outlast.brokers.memory.exchanges import MemoryBindings
from outlast.brokers.memory.guards import MemoryGuards
from outlast.brokers.memory.history import MemoryHistory
from outlast.brokers.memory.schedules import MemorySchedules
from outlast.brokers.memory.tables import Tables
from outlast.core.clock import Clock
from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed
from outlast.core.guards.record import GuardRecord, GuardsView
from outlast.core.history import Cost, Entry, QueueSample, Sort, Step
from outlast.core.message import TERMINAL, Delivery, Holder, Message, State
from outlast.core.policy import DEFAULTS
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.settlement import Lost, Note, Published, Settlement
from outlast.core.store.broker import Capabilities, QueueStats
from outlast.core.store.control import Answer, Command, Purge
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.store.totals import Outcome
from outlast.core.topology import Topology

__all__ = ["MemoryStore"]

T = TypeVar("T")

LOOK_AGAIN = 1.0
"""Seconds of real time after which a wait reads the clock again, in case it was moved without a notification."""


class MemoryStore:
    """Jobs in the memory of this process, lost when it ends. Waits end by real time, or when the clock passes them."""

    def __init__(self, clock: Clock, *, max_body: int = DEFAULTS.max_body) -> None:
        self.capabilities = Capabilities(durability="memory", max_body=max_body, shared=False)
        self._tables = Tables(clock, max_body)
        self._schedules = MemorySchedules(lambda messages: self._tables.publish(messages, bounded=False), max_body)
        self._guards = MemoryGuards()
        self._history = MemoryHistory()
        self._bindings = MemoryBindings()
        self._expansion = Expansion(self.bindings, self._publish_copies)
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = Notifier()
        self._closed = False
        subscribe: Callable[[Callable[[], None]], None] | None = getattr(clock, "subscribe", None)
        if subscribe is not None:
            subscribe(self._changed.notify)

    async def open(self) -> None:
        """Make the store usable, also after a close."""
        self._closed = False

    async def close(self) -> None:
        """End all waits; jobs and leases stay."""
        self._closed = True
        self._changed.notify()

    async def declare(self, topology: Topology) -> None:
        """Set the queues of an app, add its bindings, and make parked jobs of its kinds due."""
        with self._lock:
            change = self._bindings.added(topology)
            self._tables.declare(topology)
            self._bindings.change(change)
        self._changed.notify()

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages."""
        with self._lock:
            answers = self._tables.publish(messages, bounded=True)
        self._changed.notify()
        return answers

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out jobs, or wait for the first one."""

        def look() -> tuple[list[Delivery], float | None]:
            claimed = delivery.claim(self._tables, demand, limit=limit, holder=holder, lease=lease)
            return claimed, None if claimed else delivery.next_event(self._tables, demand)

        return await self._until(look, wait)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply the settlements that count."""
        with self._lock:
            lost = delivery.settle(self._tables, settlements)
        self._changed.notify()
        return lost

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the holder's lease."""
        with self._lock:
            return delivery.extend(self._tables, holder, lease=lease)

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs."""
        with self._lock:
            return delivery.save(self._tables, notes)

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make a dead holder's jobs ready."""
        with self._lock:
            count = delivery.forfeit(self._tables, holder, crashed=crashed)
        self._changed.notify()
        return count

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues."""
        with self._lock:
            return records.stats(self._tables, queues)

    async def totals(self, queues: Sequence[str] = ()) -> dict[tuple[str, str, Outcome], int]:
        """Return the number of ended jobs by queue, kind and outcome."""
        with self._lock:
            return records.totals(self._tables, queues)

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records by id."""
        with self._lock:
            return self._get(ids)

    async def find(self, query: Query) -> Page:
        """Return one page of records."""
        with self._lock:
            return records.find(self._tables, query)

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records when all have ended, or after `timeout` seconds."""

        def look() -> tuple[list[JobRecord | None], float | None]:
            records = self._get(ids)
            now = self._clock.time()
            unfinished = [each for each in records if each is not None and each.state not in TERMINAL]
            expiries = [each.expires_at for each in unfinished if each.expires_at is not None and each.expires_at > now]
            return records if not unfinished else [], min(expiries) - now if expiries else None

        return await self._until(look, timeout if ids else 0) or await self.get(ids)

    async def count(self, query: Query) -> dict[State, int]:
        """Count records by state."""
        with self._lock:
            return records.count(self._tables, query)

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order."""
        with self._lock:
            check(self._tables, commands)
            answers = [apply(self._tables, command) for command in commands]
            for command in commands:
                if isinstance(command, Purge) and command.erased:
                    self._history.forget_tenant(command.erased)
        self._changed.notify()
        return answers

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        with self._lock:
            return self._schedules.all()

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules."""
        with self._lock:
            return self._schedules.enlist(entries, self._clock.time())

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Take ticks and publish their messages."""
        with self._lock:
            made = self._schedules.advance(moves)
        self._changed.notify()
        return made

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Change schedules."""
        with self._lock:
            answers = self._schedules.amend(changes, self._clock.time())
        self._changed.notify()
        return answers

    async def amended(self, since: int, timeout: float) -> int:
        """Return how often schedules were changed, once that is above `since`, or after `timeout` seconds."""

        def look() -> tuple[list[int], float | None]:
            return [self._schedules.changes] if self._schedules.changes > since else [], None

        return (await self._until(look, timeout) or [self._schedules.changes])[0]

    async def guards(self) -> GuardsView:
        """Return all guards by name."""
        with self._lock:
            return self._guards.view(self._clock.monotonic())

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store the records that follow on the stored revision."""
        with self._lock:
            stored = [self._guards.swap(record) for record in records]
        self._changed.notify()
        return stored

    async def guards_changed(self, since: int, timeout: float) -> int:
        """Return how often guards were changed, once that is above `since`, or after `timeout` seconds."""

        def look() -> tuple[list[int], float | None]:
            return [self._guards.changes] if self._guards.changes > since else [], None

        return (await self._until(look, timeout) or [self._guards.changes])[0]

    async def bindings(self) -> Bindings:
        """Return all exchanges and bindings."""
        with self._lock:
            return self._bindings.known

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep the copies of events."""
        return await self._expansion.publish(events)

    async def _publish_copies(self, version: int, messages: Sequence[Message]) -> list[Published] | None:
        """Keep the messages if the bindings still have this version."""
        with self._lock:
            if self._bindings.known.version != version:
                return None
            answers = self._tables.publish(messages, bounded=True)
        self._changed.notify()
        return answers

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings, and exchanges without any."""
        with self._lock:
            return self._bindings.unbind(bindings, exchanges)

    async def keep_samples(self, samples: Mapping[str, QueueSample]) -> int:
        """Keep the samples whose slots are empty."""
        with self._lock:
            return self._history.keep_samples(samples, self._clock.time())

    async def samples(self, step: Step, queues: Sequence[str] = ()) -> dict[str, list[QueueSample]]:
        """Return the samples by queue."""
        with self._lock:
            return self._history.samples(step, queues, self._clock.time())

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries to the journal."""
        with self._lock:
            self._history.add_entries(entries, self._clock.time())

    async def journal(self, sort: Sort, limit: int) -> list[Entry]:
        """Return the newest entries of a sort."""
        with self._lock:
            return self._history.journal(sort, limit)

    async def add_costs(self, source: str, number: int, costs: Sequence[Cost]) -> bool:
        """Add costs to those of today."""
        with self._lock:
            return self._history.add_costs(source, number, costs, self._clock.time())

    async def costs(self, days: int) -> list[Cost]:
        """Return the costs of the last days."""
        with self._lock:
            return self._history.costs(days, self._clock.time())

    def _get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        now = self._clock.time()
        found = (self._tables.find(id_) for id_ in ids)
        return [None if job is None else records.record(job, now) for job in found]

    async def _until(self, look: Callable[[], tuple[list[T], float | None]], timeout: float) -> list[T]:
        """Call `look` until it finds something; return [] when `timeout` seconds have passed on either clock.

        look: also returns the seconds until the result may change without a notification, None if it cannot.
        """
        clock_deadline = self._clock.monotonic() + timeout

        async def locked(_: float) -> Look[list[T]]:
            with self._lock:
                found, soon = look()
            left = clock_deadline - self._clock.monotonic()
            soon = left if soon is None else min(soon, left)
            return Look(found, bool(found) or left <= 0 or self._closed, soon)

        return await look_until(locked, notifier=self._changed, timeout=timeout, poll=LOOK_AGAIN)
