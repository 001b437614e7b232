"""The queues of a Cluster, each a place of its own: opened when used, known by name, looked for while they are away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from outlast.brokers.redis.queue_store import QueueStore
from outlast.core.errors import OutlastError, StoreError, StoreUnavailable
from outlast.core.topology import Topology

__all__ = ["ROOT", "QueueDirectory"]

_log = logging.getLogger("outlast.redis")

ROOT: Final = ""
"""Instead of a queue: the place of what belongs to none, the names of all queues and the schedules."""
LOOK: Final = 0.25
"""Seconds between two looks for a place whose server does not answer."""


class QueueDirectory:
    """All parts. make(queue): one that is not open yet; back: called when a place that was away answers again.

    The names of all queues lie in the root. A queue that is used before its name can be kept there is used all the
    same, and its name is kept at its next use, by whichever process: the server of the root holds up no other queue.
    """

    def __init__(self, make: Callable[[str], QueueStore], back: Callable[[], None]) -> None:
        self._make = make
        self._back = back
        self._parts: dict[str, QueueStore] = {}
        self._named: set[str] = set()
        """Names of which this process knows that the root holds them."""
        self._names: set[str] = set()
        """All that the root held when it was last asked."""
        self._late: dict[str, Topology] = {}
        """What is declared as soon as its server answers."""
        self._away: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()

    async def open(self) -> None:
        """Be ready. Places are opened when they are needed: one whose server is away hinders nobody."""
        try:
            await self.root()
        except StoreUnavailable as error:
            self.lost(ROOT, error)

    async def close(self) -> None:
        """Look for nobody any more; take back what claims handed out in vain."""
        looking = list(self._away.values())
        self._away.clear()
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        await asyncio.gather(*(part.close() for part in self._parts.values()))

    async def root(self) -> QueueStore:
        """Return the root, open."""
        return self._parts.get(ROOT) or await self._opened(ROOT)

    def at_hand(self, queue: str) -> QueueStore | None:
        """Return a part that is open."""
        return self._parts.get(queue)

    async def used(self, queue: str) -> QueueStore:
        """Return the part of a queue that jobs are put into or taken from: from now on it is known to everybody."""
        part = self._parts.get(queue) or await self._opened(queue)
        if queue not in self._named and ROOT not in self._away:
            try:
                root = (await self.root()).place
                await root.link.command("SADD", f"{root.root}:queues", queue)
                self._named.add(queue)
            except StoreUnavailable as error:
                self.lost(ROOT, error)
        if queue in self._late:
            topology = self._late.pop(queue)
            try:
                await part.declare(topology)
            except StoreUnavailable:
                self._late.setdefault(queue, topology)
                raise
        return part

    async def known(self, queue: str) -> QueueStore | None:
        """Return the part of a queue that somebody has used, None for any other: a look makes nothing."""
        if not queue:
            return None
        part = self._parts.get(queue)
        if part is None and (queue in self._names or queue in await self.names()):
            part = await self._opened(queue)
        return part

    async def names(self) -> list[str]:
        """Return all queues by name; while the root is away those that were known before, or raise."""
        found = self._names
        if not (found and ROOT in self._away):
            try:
                root = (await self.root()).place
                found = set(await root.names())
                missing = self._named - found
                if missing:  # its server was emptied
                    await root.link.command("SADD", f"{root.root}:queues", *missing)
            except StoreUnavailable as error:
                self.lost(ROOT, error)
                if not found:
                    raise
        self._names = found | self._parts.keys() - {ROOT}
        return sorted(self._names)

    async def declare(self, topology: Topology) -> None:
        """Declare, after all queues were looked at: another app's is refused before anything has changed.

        A queue whose server is away is declared before it is used next. Raise when that is so of all of them.
        """
        await self._each(topology, lambda part, one: part.place.check_owner(one.queues[0].name, one.app))
        failed = await self._each(topology, lambda part, one: part.declare(one))
        for queue, error in failed.items():
            self._late[queue] = next(one for one in _ones(topology) if one.queues[0].name == queue)
            self.lost(queue, error)
        if failed and len(failed) == len(topology.queues):
            raise next(iter(failed.values()))

    def away(self, queue: str) -> bool:
        """Tell whether its server did not answer, and has not since."""
        return queue in self._away

    def lost(self, queue: str, error: StoreError) -> None:
        """Hear that a place gave an error: said once. One that does not answer is looked for until it does."""
        name = f"queue {queue!r} is" if queue else "the list of queues and the schedules are"
        if queue not in self._told:
            self._told.add(queue)
            _log.warning("%s away, the others go on: %s", name, error)
        if isinstance(error, StoreUnavailable) and queue not in self._away:
            self._away[queue] = asyncio.create_task(self._look_for(queue), name="outlast-redis-look")

    def found(self, queue: str) -> None:
        """Hear that a place answers."""
        if queue in self._told:
            self._told.discard(queue)
            _log.warning("%s back", f"queue {queue!r} is" if queue else "the list of queues and the schedules are")

    async def _look_for(self, queue: str) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                place = (await self.used(queue) if queue else await self.root()).place
                await place.names()  # a script, as what is hindered is: a slot that is moved answers single commands
            except StoreUnavailable:
                continue
            except OutlastError as error:
                _log.error("queue %r: %s", queue, error)
            break
        self._away.pop(queue, None)
        self.found(queue)
        self._back()

    async def _opened(self, queue: str) -> QueueStore:
        part = self._make(queue)
        await part.open()
        return self._parts.setdefault(queue, part)  # somebody else may have been first

    async def _each(
        self, topology: Topology, do: Callable[[QueueStore, Topology], Coroutine[Any, Any, None]]
    ) -> dict[str, StoreError]:
        """Do it with each queue; return whose server is away."""

        async def one(each: Topology) -> None:
            await do(await self.used(each.queues[0].name), each)

        failed: dict[str, StoreError] = {}
        ones = _ones(topology)
        for each, told in zip(ones, await asyncio.gather(*map(one, ones), return_exceptions=True), strict=True):
            if isinstance(told, StoreUnavailable):
                failed[each.queues[0].name] = told
            elif isinstance(told, BaseException):
                raise told
        return failed


def _ones(topology: Topology) -> list[Topology]:
    return [Topology((queue,), topology.app) for queue in topology.queues]
