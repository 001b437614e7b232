"""Follow-ups on their way: from the queue that kept them, in the step of their settlement, to their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.queue_directory import ROOT, QueueDirectory
from outlast.brokers.redis.queue_store import QueueStore
from outlast.brokers.redis.scripts import script
from outlast.clients.redis.client import Argument
from outlast.core.errors import StoreError

__all__ = ["Relay"]

_RELAY: Final = script("clock", "base", "relay")
_RECEIVE: Final = script("clock", "base", "retain", "jobs", "moves", "admit", "receive")
MOST: Final = 100
"""Follow-ups of one step."""
BYTES: Final = 1 << 20
"""Bytes after which a step takes no more."""
EVERY: Final = 2.0
"""Seconds between two looks whether a process that died has left some behind."""
PATIENCE: Final = 1.0
"""Seconds that who has settled a job waits for its follow-ups to arrive; they arrive without it too."""


class Relay:
    """Carries what is kept, in order, for each queue by itself. A queue whose server is away keeps its own waiting.

    Taken there first and removed here then: a process that dies between the two leaves them to be taken again, and the
    queue knows them by their ids.
    """

    def __init__(self, queues: QueueDirectory) -> None:
        self._queues = queues
        self._looked: dict[str, float] = {}
        self._carrying: dict[str, asyncio.Task[None]] = {}
        self._left: set[str] = set()
        """Queues in which something still waits for a queue that was away."""

    async def close(self) -> None:
        """Stop; what has not arrived stays where it is kept."""
        carrying = list(self._carrying.values())
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    def look_at(self, queues: Iterable[str]) -> None:
        """See to what a process that died may have left behind in these queues and in the root, now and then."""
        now = asyncio.get_running_loop().time()
        for queue in {*queues, *self._left, ROOT}:
            store = self._queues.at_hand(queue)
            if store is not None and now - self._looked.get(queue, 0.0) >= EVERY and not self._queues.away(queue):
                self._begin(store)

    async def carry(self, store: QueueStore) -> None:
        """Carry what was kept there by now, for up to PATIENCE seconds; the rest goes on behind."""
        before = self._carrying.get(store.keyspace.queue or ROOT)
        if before is not None:  # it may have looked before
            await asyncio.wait((before,), timeout=PATIENCE)
        await asyncio.wait((self._begin(store),), timeout=PATIENCE)

    def _begin(self, store: QueueStore) -> asyncio.Task[None]:
        queue = store.keyspace.queue or ROOT
        task = self._carrying.get(queue)
        if task is None or task.done():
            self._looked[queue] = asyncio.get_running_loop().time()
            task = self._carrying[queue] = asyncio.create_task(
                self._carry(queue, store.keyspace), name="outlast-redis-relay"
            )
        return task

    async def _carry(self, queue: str, keyspace: Keyspace) -> None:
        going = True
        self._left.discard(queue)
        while going:
            try:
                found = await keyspace.run(_RELAY, [keyspace.root], "look", MOST, BYTES)
            except StoreError as error:
                self._queues.record_error(queue, error)
                return
            names = [(each[0].decode(), each[1:]) for each in found]
            if any(self._queues.away(name) for name, _ in names):
                self._left.add(queue)
            # A batch that has gone may have had others behind it.
            going = any(
                await asyncio.gather(
                    *(self._take(queue, keyspace, name, kept) for name, kept in names if not self._queues.away(name))
                )
            )

    async def _take(self, queue: str, keyspace: Keyspace, name: str, kept: list[bytes]) -> bool:
        """Take follow-ups to a queue, then remove them here; tell whether that was done."""
        try:
            target = (await self._queues.used(name)).keyspace
            answers: list[Any] = await target.run(
                _RECEIVE, target.keys([name]), target.default_limits, *kept, again=True
            )
        except StoreError as error:
            self._left.add(queue)
            self._queues.record_error(name, error)
            return False
        try:
            await self._gone(keyspace, name, kept[::2], answers)
        except StoreError as error:
            self._queues.record_error(queue, error)
            return False
        return bool(kept)

    async def _gone(self, keyspace: Keyspace, name: str, ids: list[bytes], answers: list[Any]) -> None:
        """Remove what its queue knows now. A crash before this takes it there again; the other order would lose it."""
        gone: list[Argument] = []
        for at, id_ in enumerate(ids):
            gone += (id_, *answers[2 * at : 2 * at + 2])
        await keyspace.run(_RELAY, [keyspace.root], "gone", name, *gone, again=True)
