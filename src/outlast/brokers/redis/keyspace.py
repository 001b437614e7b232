"""One keyspace: the names of its keys, what was declared in it, and calls that notice when the server was emptied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from uuid import uuid4
from zlib import crc32

import msgspec
from msgspec import structs

from outlast.brokers.redis.scripts import script
from outlast.clients.redis.client import Argument, RedisClient
from outlast.clients.redis.error_replies import ErrorReply
from outlast.clients.redis.scripts import Script
from outlast.core.errors import StoreError, StoreFull
from outlast.core.topology import Queue, Topology, adjusted, of_another_app

__all__ = ["Keyspace", "KeyspaceOperations", "effective", "limits_of"]

logger = logging.getLogger("outlast.redis")

_DECLARE: Final = script("clock", "base", "retain", "jobs", "moves", "relimit", "declare")
_RELOOK: Final = script("clock", "base", "retain", "jobs", "moves", "relimit", "relook")
_LOOK: Final = script("clock", "base", "retain", "jobs", "moves", "look")
_changes: Final = msgspec.json.Decoder(dict[str, Any]).decode
STEP: Final = 250
"""Keys of one step: it holds up the server for some milliseconds."""
_queue: Final = msgspec.json.Decoder(Queue).decode


def limits_of(queue: Queue) -> bytes:
    """Return a queue's limits and retention as the scripts read them (L_ in lua/clock.lua)."""
    each, gcra, each_gcra, kept = queue.per_key, queue.gcra, queue.per_key.gcra, queue.retention
    values = (
        queue.max_depth,
        queue.max_bytes,
        queue.max_age,
        queue.on_full == "shed",
        queue.concurrency,
        None if gcra is None else gcra.interval,
        None if gcra is None else gcra.burst,
        each.concurrency,
        None if each_gcra is None else each_gcra.interval,
        None if each_gcra is None else each_gcra.burst,
        each.max_depth,
        each.max_bytes,
        each.max_age,
        kept.record_ttl,
        kept.records,
        kept.dead_ttl,
        kept.id_memory,
        dict(sorted(queue.weights.items())) or None,
        # What is equal here may be other words all the same, and then counts as a change.
        crc32(msgspec.json.encode(structs.replace(queue, name="-"), order="sorted")),
    )
    return msgspec.msgpack.encode([False if value is None else value for value in values])


def effective(name: str, declared: bytes | None, changed: bytes | None) -> tuple[Queue, dict[str, Any]]:
    """Return a queue as it is in use, from what is kept of it, and what operators have changed."""
    queue = _queue(declared) if declared else Queue(name=name)
    changes = _changes(changed) if changed else {}
    return adjusted(queue, changes), changes


class Keyspace:
    """A namespace on a server; on a Cluster one queue of it, or what belongs to none. All its keys are in one slot.

    queue: on a Cluster, the one that lies here, "" for none. now: for tests, the time that scripts take instead of the
    server's own.
    """

    def __init__(
        self, client: RedisClient, namespace: str, now: Callable[[], float] | None, *, queue: str | None = None
    ) -> None:
        self.client = client
        self.queue: Final = queue
        self.root = f"{{{namespace}:{queue}}}:" if queue else f"{{{namespace}}}"
        self.default_limits = limits_of(Queue(name="default"))
        self.declared: dict[str, tuple[Queue, str]] = {}
        """What this process has declared: queue and app, to be said again where the server has lost it."""
        self._now = now
        self._stem = f"{{{namespace}:"
        self._born = ""

    def holds(self, queue: str) -> bool:
        """Tell whether the jobs of a queue lie here."""
        return self.queue is None or self.queue == queue

    def prefix(self, queue: str) -> str:
        """Return what the keys of a queue begin with."""
        return self._stem + queue + "}"

    def keys(self, queues: Iterable[str]) -> list[str]:
        """Return the KEYS of a call about these queues."""
        stem = self._stem
        return [self.root, *(stem + queue + "}" for queue in queues)]

    async def open(self) -> None:
        """Learn when the keyspace was made; make it when it is new. A full server can be looked at, and purged."""
        key = f"{self.root}:born"
        full: StoreFull | None = None
        try:
            await self.client.command("SET", key, uuid4().hex, "NX")
        except StoreFull as error:
            full = error
        self._born = (await self.client.command("GET", key) or b"").decode()
        if full is not None and not self._born:
            raise full

    async def run(
        self, called: Script, keys: Sequence[str], *args: Argument, sure: bool = False, again: bool = False
    ) -> Any:
        """Call a script. A server that was emptied is told again what was declared, and that is logged.

        sure, again: as in RedisClient.run.
        """
        for _ in range(3):
            now: Argument = "" if self._now is None else repr(self._now())
            try:
                return await self.client.run(called, keys, (now, self._born, *args), sure=sure, again=again)
            except ErrorReply as refusal:
                if refusal.code != "REBORN":
                    raise
            await self._declare_again()
        raise StoreError(f"{self.client.address.shown} is emptied again and again: who else uses its database?")

    async def _declare_again(self) -> None:
        logger.error(
            "%s was emptied: its jobs are gone. Is it persistent (appendonly yes), and nobody's cache?",
            self.client.address.shown,
        )
        await self.open()
        for queue, app in list(self.declared.values()):
            await self.declare(Topology((queue,), app=app))

    async def time(self) -> float:
        """Return wall time as the scripts take it."""
        if self._now is not None:
            return self._now()
        seconds, micros = await self.client.command("TIME", key=self.root)
        return int(seconds) + int(micros) / 1e6

    async def names(self) -> list[str]:
        """Return all queues of the keyspace."""
        return sorted(name.decode() for name in await self.run(_LOOK, [self.root], "names"))

    async def changes(self, queues: Sequence[str]) -> list[bytes]:
        """Return what operators have changed of these queues, as it is kept: b"" for nothing."""
        return [(await self.client.command("HGET", f"{self.prefix(queue)}:c", "changes")) or b"" for queue in queues]

    async def check_owner(self, queue: str, app: str) -> None:
        """Raise ConfigurationError for a queue of another app."""
        owner = (await self.client.command("HGET", f"{self.prefix(queue)}:c", "app") or b"").decode()
        if owner and app and owner != app:
            raise of_another_app(queue, owner, app)

    async def declared_of(self, queue: str) -> Queue:
        """Return a queue as it was declared, with the defaults when it was not."""
        kept = await self.client.command("HGET", f"{self.prefix(queue)}:c", "declared")
        return _queue(kept) if kept else Queue(name=queue)

    async def relook(self, queue: str) -> None:
        """Have the keys that other limits were not told yet looked at, in short steps; who dies here leaves it to them:
        a key looks again by itself, within 10 s or when its rate lets it.
        """
        kept = f"{self.prefix(queue)}:c"
        last = await self.client.command("HGET", kept, "relook")
        cursor = b"0"
        while last is not None:
            cursor, found = await self.client.command("ZSCAN", f"{self.prefix(queue)}:park", cursor, "COUNT", STEP)
            members = [each for each in found[::2] if int(each[:15]) <= int(last)]
            if members:
                await self.run(_RELOOK, self.keys([queue]), *members)
            if cursor == b"0":
                await self.client.command("HDEL", kept, "relook")
                break

    async def declare(self, topology: Topology) -> None:
        """Make queues known with their bounds; raise ConfigurationError, with nothing changed, for another app's."""
        names = [queue.name for queue in topology.queues]
        while names:
            args: list[Argument] = []
            for queue, kept in zip(topology.queues, await self.changes(names), strict=True):
                changed = adjusted(queue, _changes(kept)) if kept else queue
                args += [limits_of(changed), msgspec.json.encode(queue), kept]
            answer = await self.run(_DECLARE, self.keys(names), topology.app, *args)
            if answer == b"OK":
                break
            if answer[1] == b"owner":
                raise of_another_app(names[answer[0]], answer[2].decode(), topology.app)
        for queue in topology.queues:
            await self.relook(queue.name)
        self.declared.update((queue.name, (queue, topology.app)) for queue in topology.queues)


class KeyspaceOperations:
    """The base of what is done in one keyspace. is_open: whether the store still is."""

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        self.keyspace: Final = keyspace
        self._max_body = max_body
        self._is_open = is_open
