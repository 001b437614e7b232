"""The queues of a Cluster, each with a store of its own: opened when used, known by name, polled while unavailable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.queue_store import QueueStore
from outlast.core.errors import OutlastError, StoreError, StoreUnavailable
from outlast.core.topology import Topology

__all__ = ["ROOT", "QueueDirectory"]

_log = logging.getLogger("outlast.redis")

ROOT: Final = ""
"""Instead of a queue: the store of what belongs to none, the names of all queues and the schedules."""
LOOK: Final = 0.25
"""Seconds between two attempts to reach a server that does not answer."""


class QueueDirectory:
    """The stores of all queues. make(queue): a store that is not open yet; on_return: called when one that was
    unavailable answers again.

    The names of all queues lie in the root. A queue that is used before its name can be kept there is used all the
    same, and its name is kept at its next use, by whichever process: the server of the root holds up no other queue.
    """

    def __init__(self, make: Callable[[str], QueueStore], on_return: Callable[[], None]) -> None:
        self._make = make
        self._on_return = on_return
        self._stores: dict[str, QueueStore] = {}
        self._named: set[str] = set()
        """Names of which this process knows that the root holds them."""
        self._names: set[str] = set()
        """All that the root held when it was last asked."""
        self._late: dict[str, Topology] = {}
        """What is declared as soon as its server answers."""
        self._away: dict[str, asyncio.Task[None]] = {}
        self._logged: set[str] = set()

    async def open(self) -> None:
        """Open the root. Other stores are opened when used, so that one whose server is away delays no other."""
        try:
            await self.root()
        except StoreUnavailable as error:
            self.record_error(ROOT, error)

    async def close(self) -> None:
        """Stop looking for servers that are away; take back what cancelled claims have handed out."""
        looking = list(self._away.values())
        self._away.clear()
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        await asyncio.gather(*(store.finish_undoing() for store in self._stores.values()))

    async def root(self) -> QueueStore:
        """Return the root, open."""
        return self._stores.get(ROOT) or await self._opened(ROOT)

    def at_hand(self, queue: str) -> QueueStore | None:
        """Return the store of a queue if it is open."""
        return self._stores.get(queue)

    async def used(self, queue: str) -> QueueStore:
        """Return the store of a queue that jobs are put into or taken from: from now on its name is known to all."""
        store = self._stores.get(queue) or await self._opened(queue)
        if queue not in self._named and ROOT not in self._away:
            try:
                root = (await self.root()).keyspace
                await root.client.command("SADD", f"{root.root}:queues", queue)
                self._named.add(queue)
            except StoreUnavailable as error:
                self.record_error(ROOT, error)
        if queue in self._late:
            topology = self._late.pop(queue)
            try:
                await store.keyspace.declare(topology)
            except StoreUnavailable:
                self._late.setdefault(queue, topology)
                raise
        return store

    async def known(self, queue: str) -> QueueStore | None:
        """Return the store of a queue that was used before, None for any other: reading makes no queue."""
        if not queue:
            return None
        store = self._stores.get(queue)
        if store is None and (queue in self._names or queue in await self.names()):
            store = await self._opened(queue)
        return store

    async def names(self) -> list[str]:
        """Return all queues by name; while the root is away those that were known before, or raise."""
        found = self._names
        if not (found and ROOT in self._away):
            try:
                root = (await self.root()).keyspace
                found = set(await root.names())
                missing = self._named - found
                if missing:  # its server was emptied
                    await root.client.command("SADD", f"{root.root}:queues", *missing)
            except StoreUnavailable as error:
                self.record_error(ROOT, error)
                if not found:
                    raise
        self._names = found | self._stores.keys() - {ROOT}
        return sorted(self._names)

    async def declare(self, topology: Topology) -> None:
        """Declare, after all queues were looked at: another app's is refused before anything has changed.

        A queue whose server is away is declared before it is used next. Raise when that is so of all of them.
        """
        await self._each(topology, lambda keyspace, one: keyspace.check_owner(one.queues[0].name, one.app))
        failed = await self._each(topology, Keyspace.declare)
        for queue, error in failed.items():
            self._late[queue] = next(one for one in _ones(topology) if one.queues[0].name == queue)
            self.record_error(queue, error)
        if failed and len(failed) == len(topology.queues):
            raise next(iter(failed.values()))

    def away(self, queue: str) -> bool:
        """Tell whether the server of a queue did not answer, and has not since."""
        return queue in self._away

    def record_error(self, queue: str, error: StoreError) -> None:
        """Record an error of a store; log it once per outage. A store that does not answer is tried until it does."""
        name = f"queue {queue!r} is" if queue else "the list of queues and the schedules are"
        if queue not in self._logged:
            self._logged.add(queue)
            _log.warning("%s away, the others go on: %s", name, error)
        if isinstance(error, StoreUnavailable) and queue not in self._away:
            self._away[queue] = asyncio.create_task(self._look_for(queue), name="outlast-redis-look")

    def record_answer(self, queue: str) -> None:
        """Record that a store answers."""
        if queue in self._logged:
            self._logged.discard(queue)
            _log.warning("%s back", f"queue {queue!r} is" if queue else "the list of queues and the schedules are")

    async def _look_for(self, queue: str) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                keyspace = (await self.used(queue) if queue else await self.root()).keyspace
                await keyspace.names()  # a script, as what is hindered is: a slot that is moved answers single commands
            except StoreUnavailable:
                continue
            except OutlastError as error:
                _log.error("queue %r: %s", queue, error)
            break
        self._away.pop(queue, None)
        self.record_answer(queue)
        self._on_return()

    async def _opened(self, queue: str) -> QueueStore:
        store = self._make(queue)
        await store.keyspace.open()
        return self._stores.setdefault(queue, store)  # another call may have been first

    async def _each(
        self, topology: Topology, do: Callable[[Keyspace, Topology], Coroutine[Any, Any, None]]
    ) -> dict[str, StoreError]:
        """Do it with the keyspace of each queue; return the errors of those whose server is away."""

        async def one(each: Topology) -> None:
            await do((await self.used(each.queues[0].name)).keyspace, each)

        failed: dict[str, StoreError] = {}
        ones = _ones(topology)
        for each, answer in zip(ones, await asyncio.gather(*map(one, ones), return_exceptions=True), strict=True):
            if isinstance(answer, StoreUnavailable):
                failed[each.queues[0].name] = answer
            elif isinstance(answer, BaseException):
                raise answer
        return failed


def _ones(topology: Topology) -> list[Topology]:
    return [Topology((queue,), topology.app) for queue in topology.queues]
