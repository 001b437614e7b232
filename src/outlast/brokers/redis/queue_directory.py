"""The queue stores of a Cluster: opened at their first use, listed by name, polled while unavailable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from outlast.aio.tasks import cancel
from outlast.brokers.redis.keyspace import Keyspace, part_of
from outlast.brokers.redis.queue_store import QueueStore
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, StoreUnavailable
from outlast.core.topology import Topology

__all__ = ["ROOT", "QueueDirectory"]

_log = logging.getLogger("outlast.redis")

ROOT: Final = ""
"""The name of the store that belongs to no queue: it keeps the names of all queues, the schedules and the bindings."""
POLL: Final = 0.25
"""Seconds between two attempts to reach an unavailable server."""


class QueueDirectory:
    """The stores of all queues. make(queue): returns a store that is not open; on_return: called when an unavailable
    store answers again.

    The root stores the names of all queues. While it is unavailable, new queues are used without their name in the
    root, and the next use by any process adds the name: the server of the root delays no other queue.
    """

    def __init__(self, make: Callable[[str], QueueStore], on_return: Callable[[], None]) -> None:
        self._make = make
        self._on_return = on_return
        self._stores: dict[str, QueueStore] = {}
        self._named: set[str] = set()
        """The names that this process added to the root."""
        self._names: set[str] = set()
        """All queues of the last answer of the root, and those with a store."""
        self._undeclared: dict[str, Topology] = {}
        """Declarations for unavailable servers, made when the queue is next used."""
        self._unbound: Topology | None = None
        """Exchanges and bindings for a root that is unavailable, declared when it is next used."""
        self._polls: dict[str, asyncio.Task[None]] = {}
        """The tasks that poll the unavailable stores."""
        self._logged: set[str] = set()

    async def open(self) -> None:
        """Open the root. Other stores are opened at their first use, so that an unavailable server delays no other."""
        try:
            await self.root()
        except StoreUnavailable as error:
            self.record_error(ROOT, error)

    async def close(self) -> None:
        """Stop polling unavailable servers; wait until cancelled claims are undone."""
        polls = list(self._polls.values())
        self._polls.clear()
        await cancel(*polls)
        await asyncio.gather(*(store.finish_undo() for store in self._stores.values()))

    async def root(self) -> QueueStore:
        """Return the root, open, with the bindings of this process."""
        store = self._stores.get(ROOT) or await self._opened(ROOT)
        if (topology := self._unbound) is not None:
            try:
                await store.declare_bindings(topology)
            except ConfigurationError:  # another app has declared them otherwise meanwhile
                self._unbound = None
                raise
            if self._unbound is topology:
                self._unbound = None
        return store

    async def check_bindings(self, topology: Topology) -> None:
        """Raise ConfigurationError for exchanges and bindings that cannot be declared, if the root is available."""
        await self._with_root(lambda root: root.check_bindings(topology))

    async def bind(self, topology: Topology) -> None:
        """Declare exchanges and bindings, or have it done when the root is available: its server delays no queue."""
        self._unbound = topology
        await self._with_root(None)

    async def _with_root(self, do: Callable[[QueueStore], Awaitable[None]] | None) -> None:
        if ROOT in self._polls:
            return
        try:
            root = await self.root()
            if do is not None:
                await do(root)
        except StoreUnavailable as error:
            self.record_error(ROOT, error)

    def opened(self, queue: str) -> QueueStore | None:
        """Return the store of a queue if it is open."""
        return self._stores.get(queue)

    async def used(self, queue: str) -> QueueStore:
        """Return the store of a queue for publishes or claims; add the queue's name to the root."""
        store = self._stores.get(queue) or await self._opened(queue)
        if queue not in self._named and ROOT not in self._polls:
            try:
                root = (await self.root()).keyspace
                await root.client.command("SADD", f"{root.root}:queues", queue)
                self._named.add(queue)
            except StoreUnavailable as error:
                self.record_error(ROOT, error)
        if queue in self._undeclared:
            topology = self._undeclared.pop(queue)
            try:
                await store.keyspace.declare(topology)
            except StoreUnavailable:
                self._undeclared.setdefault(queue, topology)
                raise
        return store

    async def known(self, queue: str) -> QueueStore | None:
        """Return the store of a queue that was used before, None for any other: a read creates no queue."""
        if not queue:
            return None
        store = self._stores.get(queue)
        if store is None and (queue in self._names or queue in await self.names()):
            store = await self._opened(queue)
        return store

    async def names(self) -> list[str]:
        """Return the names of all queues, sorted; while the root is unavailable the names known before, or raise."""
        found = self._names
        if not (found and ROOT in self._polls):
            try:
                root = (await self.root()).keyspace
                found = set(await root.names())
                missing = self._named - found
                if missing:  # its server was flushed
                    await root.client.command("SADD", f"{root.root}:queues", *missing)
            except StoreUnavailable as error:
                self.record_error(ROOT, error)
                if not found:
                    raise
        self._names = found | self._stores.keys() - {ROOT}
        return sorted(self._names)

    async def declare(self, topology: Topology) -> None:
        """Declare the queues, after all owners were checked: a queue of another app is refused with nothing changed.

        A queue of an unavailable server is declared at its next use. Raise if all servers are unavailable.
        """
        parts = {queue.name: part_of(topology, queue) for queue in topology.queues}
        await self._each(parts, lambda keyspace, part: keyspace.check_owner(part.queues[0].name, part.app))
        errors = await self._each(parts, Keyspace.declare)
        for queue, error in errors.items():
            self._undeclared[queue] = parts[queue]
            self.record_error(queue, error)
        if errors and len(errors) == len(parts):
            raise next(iter(errors.values()))

    def unavailable(self, queue: str) -> bool:
        """Return whether the server of a queue did not answer, and did not answer since."""
        return queue in self._polls

    def record_error(self, queue: str, error: StoreError) -> None:
        """Record an error of a store; log it once per outage. An unavailable store is polled until it answers."""
        if queue not in self._logged:
            self._logged.add(queue)
            _log.warning("%s unavailable, the other queues continue: %s", _subject(queue), error)
        if isinstance(error, StoreUnavailable) and queue not in self._polls:
            self._polls[queue] = asyncio.create_task(self._poll(queue), name="outlast-redis-poll")

    def record_answer(self, queue: str) -> None:
        """Record that a store answers."""
        if queue in self._logged:
            self._logged.discard(queue)
            _log.warning("%s available again", _subject(queue))

    async def _poll(self, queue: str) -> None:
        while True:
            await asyncio.sleep(POLL)
            try:
                keyspace = (await self.used(queue) if queue else await self.root()).keyspace
                await keyspace.names()  # a script: while a slot is moved, single commands work and scripts do not
            except StoreUnavailable:
                continue
            except OutlastError as error:
                _log.error("queue %r: %s", queue, error)
            break
        self._polls.pop(queue, None)
        self.record_answer(queue)
        self._on_return()

    async def _opened(self, queue: str) -> QueueStore:
        store = self._make(queue)
        await store.keyspace.open()
        return self._stores.setdefault(queue, store)  # a concurrent call may have opened it

    async def _each(
        self, parts: Mapping[str, Topology], do: Callable[[Keyspace, Topology], Coroutine[Any, Any, None]]
    ) -> dict[str, StoreError]:
        """Do it with the keyspace of each queue; return the errors of the unavailable ones."""

        async def one(queue: str) -> None:
            await do((await self.used(queue)).keyspace, parts[queue])

        errors: dict[str, StoreError] = {}
        for queue, result in zip(parts, await asyncio.gather(*map(one, parts), return_exceptions=True), strict=True):
            if isinstance(result, StoreUnavailable):
                errors[queue] = result
            elif isinstance(result, BaseException):
                raise result
        return errors


def _subject(queue: str) -> str:
    return f"queue {queue!r} is" if queue else "the list of queues, the schedules and the bindings of exchanges are"
