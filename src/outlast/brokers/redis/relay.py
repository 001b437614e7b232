"""The relay of a Cluster: moves follow-ups from the queue that stored them with a settlement to their own queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from outlast.aio.tasks import cancel
from outlast.brokers.redis.keyspace import Keyspace, script
from outlast.brokers.redis.queue_directory import ROOT, QueueDirectory
from outlast.brokers.redis.queue_store import QueueStore
from outlast.clients.redis.client import Argument
from outlast.core.errors import StoreError

__all__ = ["Relay"]

_log = logging.getLogger("outlast.redis")

_RELAY: Final = script("clock", "base", "relay")
_RECEIVE: Final = script("clock", "base", "retain", "jobs", "moves", "succeed", "admit", "receive")
MOST: Final = 100
"""Follow-ups of one step."""
BYTES: Final = 1 << 20
"""Bytes after which a step takes no more."""
EVERY: Final = 2.0
"""Seconds between two checks for follow-ups of a crashed process."""
PATIENCE: Final = 1.0
"""Seconds that a settle call waits for its follow-ups to arrive; the relay continues after it."""


class Relay:
    """Moves stored follow-ups, in order, for each target queue apart: an unavailable queue delays no other.

    The target queue accepts them before they are removed from the source: a crash between the two repeats the first
    step, and the target queue rejects the known ids. One that replaces may come late: a job with its unique key that
    was enqueued after the settlement stays, as in enqueue/late.py.
    """

    def __init__(self, queues: QueueDirectory) -> None:
        self._queues = queues
        self._checked_at: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._incomplete: set[str] = set()
        """Queues with follow-ups for a queue that was unavailable."""

    async def close(self) -> None:
        """Stop; follow-ups that did not arrive stay stored."""
        await cancel(*self._tasks.values())

    def check(self, queues: Iterable[str]) -> None:
        """Start to move follow-ups of crashed processes in these queues and in the root, at most once per EVERY s."""
        now = asyncio.get_running_loop().time()
        for queue in {*queues, *self._incomplete, ROOT}:
            store = self._queues.opened(queue)
            due = now - self._checked_at.get(queue, 0.0) >= EVERY
            if store is not None and due and not self._queues.unavailable(queue):
                self._start(store)

    async def move(self, store: QueueStore) -> None:
        """Move the follow-ups that are stored there now; after PATIENCE seconds continue in the background."""
        before = self._tasks.get(store.keyspace.queue or ROOT)
        if before is not None:  # it may have read the list before these were stored
            await asyncio.wait((before,), timeout=PATIENCE)
        await asyncio.wait((self._start(store),), timeout=PATIENCE)

    def _start(self, store: QueueStore) -> asyncio.Task[None]:
        queue = store.keyspace.queue or ROOT
        task = self._tasks.get(queue)
        if task is None or task.done():
            self._checked_at[queue] = asyncio.get_running_loop().time()
            task = self._tasks[queue] = asyncio.create_task(
                self._move_all(queue, store.keyspace), name="outlast-redis-relay"
            )
        return task

    async def _move_all(self, queue: str, keyspace: Keyspace) -> None:
        more = True
        self._incomplete.discard(queue)
        while more:
            try:
                stored = await keyspace.run(_RELAY, [keyspace.root], "look", MOST, BYTES)
            except StoreError as error:
                self._queues.record_error(queue, error)
                return
            batches: dict[str, list[bytes]] = {}
            for raw, unread, *batch in stored:
                name = raw.decode(errors="backslashreplace")
                batches[name] = batch
                if unread:
                    key = f"{keyspace.root}:unread:{name}"
                    _log.error("%d follow-ups for queue %r cannot be read: %s keeps them", unread, name, key)
            reachable = [name for name in batches if not self._queues.unavailable(name)]
            if len(reachable) < len(batches):
                self._incomplete.add(queue)
            # There may be more follow-ups behind a batch that was moved.
            more = any(
                await asyncio.gather(*(self._move_batch(queue, keyspace, name, batches[name]) for name in reachable))
            )

    async def _move_batch(self, queue: str, keyspace: Keyspace, name: str, batch: list[bytes]) -> bool:
        """Add follow-ups to queue `name`, then remove them from `queue`; return whether both were done."""
        try:
            target = (await self._queues.used(name)).keyspace
            answers: list[Any] = await target.run(
                _RECEIVE, target.keys([name]), target.default_limits, *batch, again=True
            )
        except StoreError as error:
            self._incomplete.add(queue)
            self._queues.record_error(name, error)
            return False
        try:
            await self._remove(keyspace, name, batch[::3], answers)
        except StoreError as error:
            self._queues.record_error(queue, error)
            return False
        return bool(batch)

    async def _remove(self, keyspace: Keyspace, name: str, ids: list[bytes], answers: list[Any]) -> None:
        """Remove follow-ups that their queue has. A crash before this adds them again; the other order loses them."""
        removed: list[Argument] = []
        for at, id_ in enumerate(ids):
            removed += (id_, *answers[2 * at : 2 * at + 2])
        await keyspace.run(_RELAY, [keyspace.root], "gone", name, *removed, again=True)
