"""The Redis store: broker, records, control and schedules of one namespace, for any number of machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from outlast.brokers.redis import delivery
from outlast.brokers.redis.bell import Bell
from outlast.brokers.redis.cluster_store import ClusterStore
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.queue_store import QueueStore
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.clock import Clock
from outlast.core.message import TERMINAL, Delivery, Holder, Message, State
from outlast.core.policy import DEFAULTS
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.settlement import Lost, Note, Published, Settlement
from outlast.core.store.broker import Capabilities, QueueStats
from outlast.core.store.control import Answer, Command
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.topology import Topology

__all__ = ["RedisStore"]

POLL: Final = 1.0
"""Seconds after which a sleeper looks again, should a ring have been missed."""


class RedisStore:
    """Broker, Records, Control and Schedules of core.protocols on the server at `url`. One object, one event loop.

    Times are the server's. now: for tests alone, wall time that is taken instead of it.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        max_body: int = DEFAULTS.max_body,
        now: Callable[[], float] | None = None,
    ) -> None:
        address = Address.of(url)
        self._link = RedisClient(address)
        self._bell = Bell()
        self._max_body = max_body
        self._kinds: tuple[str, ...] = ()
        self._last = ""
        self._opening = asyncio.Lock()
        self._open = False

        def part(queue: str | None) -> QueueStore:
            return QueueStore(Keyspace(self._link, address.namespace, now, queue=queue), max_body, lambda: self._open)

        self._jobs: QueueStore | ClusterStore = part(None)
        if self._link.split:
            self._jobs = ClusterStore(part, self._bell.ring, lambda: self._open)
        self._root = f"{{{address.namespace}}}"
        subscribe: Callable[[Callable[[], None]], None] | None = getattr(clock, "subscribe", None)
        if subscribe is not None:
            subscribe(self._bell.ring_from_anywhere)

    @property
    def capabilities(self) -> Capabilities:
        """What this server can do, as it said when it was last connected to; before that its durability is unknown."""
        level, window = self._link.durability
        return Capabilities(
            durability=level, max_body=self._max_body, shared=True, window=window, spread=self._link.split
        )

    async def open(self) -> None:
        """Connect; raise StoreUnavailable. Opening twice is a no-op."""
        async with self._opening:
            if self._open:
                return
            await self._link.open()
            await self._jobs.open()
            channels = (f"{self._root}:bell:{self._bell.name}", f"{self._root}:amended")
            self._link.listen(channels, lambda _: self._bell.ring())
            self._open = True

    async def close(self) -> None:
        """Let go of the server. What is held stays held until its lease lapses."""
        async with self._opening:
            self._open = False
            await self._jobs.close()
            await self._link.close()
            self._bell.ring()

    # Broker

    async def declare(self, topology: Topology) -> None:
        """Make these queues known with their bounds, and have claims take what is parked of these kinds."""
        await self._jobs.declare(topology)
        if topology.kinds:
            self._kinds = topology.kinds
            self._bell.ring()

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages; the answers align with the input."""
        return await self._jobs.publish(messages) if messages else []

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out ready jobs; wait up to `wait` seconds for the first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        with self._bell.listen() as ear:
            while True:
                ear.clear()
                left = deadline - loop.time()
                bell = ear.name if left > 0 else ""
                asked = delivery.Asked(demand, limit, holder.id, lease, self._last, bell, self._kinds)
                given = await self._jobs.claim(asked)
                self._last = given.last
                if given.soon == delivery.FURTHER and self._open:
                    continue
                left = deadline - loop.time()
                if given.deliveries or left <= 0 or not self._open:
                    return given.deliveries
                await ear.wait(min(left, POLL, POLL if given.soon is None else max(given.soon, 0.001)))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence still counts; return the superseded."""
        return await self._jobs.settle(settlements) if settlements else []

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew all that `holder` holds; return what it lost and what it is to cancel."""
        return await self._jobs.extend(holder, lease)

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded."""
        return await self._jobs.save(notes) if notes else []

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make all that a dead holder held ready at once; return how many."""
        return await self._jobs.forfeit(holder, crashed=crashed)

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues, all known ones when empty."""
        return await self._jobs.stats(queues)

    # Records

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""
        return await self._jobs.get(ids) if ids else []

    async def find(self, query: Query) -> Page:
        """Return one page of matching records."""
        return await self._jobs.find(query)

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records as soon as all have ended or are unknown, or as they are after `timeout` seconds."""
        if not ids:
            return []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        with self._bell.listen() as ear:
            while True:
                ear.clear()
                left = deadline - loop.time()
                if left > 0:
                    await self._jobs.watch(self._bell.name, ids)
                found = await self.get(ids)
                if left <= 0 or not self._open or all(each is None or each.state in TERMINAL for each in found):
                    return found
                await ear.wait(min(left, POLL))

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state."""
        return await self._jobs.count(query)

    async def kinds(self, queue: str) -> dict[str, int]:
        """Count the jobs of a queue that have not ended, by kind; for the doctor."""
        return await self._jobs.kinds(queue)

    # Control

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order; a prune, and a purge of many, in steps of their own."""
        return await self._jobs.apply(commands)

    # Schedules

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        return await (await self._jobs.shelf()).all()

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules."""
        return await (await self._jobs.shelf()).enlist(entries)

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Take ticks and publish their messages."""
        return await self._jobs.advance(moves)

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Change schedules."""
        return await (await self._jobs.shelf()).amend(changes)

    async def amended(self, since: int, timeout: float) -> int:
        """Return how often schedules were changed, once that is above `since`, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        with self._bell.listen() as ear:
            while True:
                ear.clear()
                count = await (await self._jobs.shelf()).changes()
                left = deadline - loop.time()
                if count > since or left <= 0 or not self._open:
                    return count
                await ear.wait(min(left, 5 * POLL))
