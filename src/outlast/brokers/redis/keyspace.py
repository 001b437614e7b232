"""One keyspace: the names of its keys, its declared queues, and script calls that detect a flushed server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import uuid4
from zlib import crc32

import msgspec
from msgspec import structs

from outlast.clients.redis.client import Argument, RedisClient
from outlast.clients.redis.error_replies import ErrorReply
from outlast.clients.redis.scripts import Script, load_script
from outlast.core.errors import StoreCorrupt, StoreError, StoreFull
from outlast.core.history import COST_DAYS, SORTS, STEPS, day_of
from outlast.core.ids import QUEUE_NAME, fits
from outlast.core.store.totals import OTHER
from outlast.core.topology import Queue, Topology, adjusted, of_another_app
from outlast.core.unreadable import READ_ERRORS, ToldOnce

__all__ = [
    "DamagedQueue",
    "Keyspace",
    "KeyspaceOperations",
    "changes_of",
    "effective",
    "limits_of",
    "part_of",
    "script",
]

logger = logging.getLogger("outlast.redis")

script: Final = partial(load_script, "outlast.brokers.redis")
"""Return the script that joins these files of lua/, in this order."""

_DECLARE: Final = script("clock", "base", "retain", "jobs", "moves", "relimit", "declare")
_RELOOK: Final = script("clock", "base", "retain", "jobs", "moves", "relimit", "relook")
_LOOK: Final = script("clock", "base", "retain", "jobs", "moves", "live_loads", "look")
_changes: Final = msgspec.json.Decoder(dict[str, Any]).decode
_told: Final = ToldOnce()
"""By queue; the counts of all queues are read again and again."""
STEP: Final = 250
"""Keys of one step: it blocks the server for some milliseconds."""
_queue: Final = msgspec.json.Decoder(Queue).decode
_NO_LIMITS: Final = frozenset(("name", "needs", "max_wait", "objective"))


def limits_of(queue: Queue) -> bytes:
    """Return the limits and the retention of a queue, packed for the scripts (L_ in lua/clock.lua)."""
    # Without what no limit depends on: older code must find its own declarations unchanged.
    form = {field: value for field, value in structs.asdict(queue).items() if field not in _NO_LIMITS}
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
        # Declarations with equal values above can differ in their form; that counts as a change too.
        crc32(msgspec.json.encode({**form, "name": "-"}, order="sorted")),
        kept.results_kept,
    )
    return msgspec.msgpack.encode([False if value is None else value for value in values])


def part_of(topology: Topology, queue: Queue) -> Topology:
    """Return the declaration of one queue."""
    kinds = topology.kinds_of.get(queue.name, ())
    return Topology((queue,), topology.app, kinds_of={queue.name: kinds} if kinds else {})


def effective(name: str, declared: bytes | None, changed: bytes | None) -> tuple[Queue, dict[str, Any]]:
    """Return a queue with the settings in force, and the operators' changes in them."""
    queue, changes = _declaration(name, declared), changes_of(name, changed)
    return adjusted(queue, changes), changes


def changes_of(name: str, text: bytes | None) -> dict[str, Any]:
    """Return the operators' changes of a queue; none, with a line in the log, where they cannot be read."""
    try:
        return _changes(text) if text else {}
    except READ_ERRORS as error:
        if _told.is_news((name, "changes"), text):
            logger.error("queue %r: its changes by outlast queues set cannot be read, set them again: %s", name, error)  # noqa: TRY400
        return {}


def _declaration(name: str, text: bytes | None) -> Queue:
    try:
        return _queue(text) if text else Queue(name=name)
    except READ_ERRORS as error:
        if _told.is_news((name, "declaration"), text):
            logger.error("queue %r: its declaration cannot be read, start its worker to declare it: %s", name, error)  # noqa: TRY400
        return Queue(name=name)


_QUEUE_TYPES: Final = {
    **dict.fromkeys(("c", "b", "d", "k", "pk", "u", "un", "p", "ac", "res", "f", "n", "t"), "hash"),
    **dict.fromkeys(("z", "due", "park", "ut", "ended", "dead", "kept"), "zset"),
    **dict.fromkeys(("r", "ring", "pl"), "list"),
    **dict.fromkeys(("w", "x"), "set"),
}
_ROOT_TYPES: Final = {
    **dict.fromkeys(("born", "order", "amends", "swaps"), "string"),
    **dict.fromkeys(("asked", "cap", "watch", "sched", "guards", "bindings"), "hash"),
    **dict.fromkeys(("leases", "gone"), "zset"),
    **dict.fromkeys(("queues", "out"), "set"),
    **dict.fromkeys((*map(str, SORTS),), "list"),
}
_SIZES: Final = {"string": "STRLEN", "hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD"}
"""The commands that fail on a key of another type; TYPE needs a permission of its own."""
NAMED: Final = 1000
"""The most keys of one sort that a search for a key of a wrong type tries."""


def _shown(name: bytes) -> str:
    return name.decode(errors="replace")


class DamagedQueue(StoreCorrupt):
    """A key of one queue has a wrong type; the other queues can be used."""

    def __init__(self, text: str, queue: str) -> None:
        super().__init__(text)
        self.queue = queue


class Keyspace:
    """A namespace on a server; on a Cluster one of its queues, or its root. All keys of a keyspace are in one slot.

    queue: on a Cluster, the queue of this keyspace, "" for the root, which belongs to no queue; None on one server.
    now: for tests, the time that scripts use instead of the server's.
    """

    def __init__(
        self, client: RedisClient, namespace: str, now: Callable[[], float] | None, *, queue: str | None = None
    ) -> None:
        self.client = client
        self.queue: Final = queue
        self.root = f"{{{namespace}:{queue}}}:" if queue else f"{{{namespace}}}"
        self.default_limits = limits_of(Queue(name="default"))
        self.declared: dict[str, Topology] = {}
        """Each queue that this process declared, by its name; declared again after the server was flushed."""
        self.after_flush: Callable[[], Awaitable[None]] | None = None
        """Declares what else was lost with the server's data, after the queues."""
        self._now = now
        self._stem = f"{{{namespace}:"
        self._born = ""

    def holds(self, queue: str) -> bool:
        """Return whether the jobs of a queue are in this keyspace."""
        return self.queue is None or self.queue == queue

    def prefix(self, queue: str) -> str:
        """Return the prefix of the keys of a queue."""
        return self._stem + queue + "}"

    def keys(self, queues: Iterable[str]) -> list[str]:
        """Return the KEYS of a script call for these queues."""
        stem = self._stem
        return [self.root, *(stem + queue + "}" for queue in queues)]

    async def open(self) -> None:
        """Read the birth of the keyspace; create it if it is new. On a full server an existing keyspace opens too."""
        key = f"{self.root}:born"
        full: StoreFull | None = None
        try:
            await self.client.command("SET", key, uuid4().hex, "NX")
        except StoreFull as error:
            full = error
        try:
            self._born = (await self.client.command("GET", key) or b"").decode()
        except UnicodeDecodeError:
            raise StoreCorrupt(
                f"{self.client.address.shown}: the key {key} is no text: another program wrote it: DEL it, and give "
                "that program another database"
            ) from None
        if full is not None and not self._born:
            raise full

    async def run(
        self, called: Script, keys: Sequence[str], *args: Argument, sure: bool = False, again: bool = False
    ) -> Any:
        """Call a script. If the server was flushed, log it, declare the queues again and repeat the call.

        sure, again: as in RedisClient.run.
        """
        for _ in range(3):
            now: Argument = "" if self._now is None else repr(self._now())
            try:
                return await self.client.run(called, keys, (now, self._born, *args), sure=sure, again=again)
            except ErrorReply as refusal:
                if refusal.code != "REBORN":
                    if "WRONGTYPE" in str(refusal):
                        await self.check_types(self._names_of(keys))
                    raise
            await self._declare_again()
        raise StoreError(f"{self.client.address.shown} was flushed repeatedly: check for other users of this database")

    def _names_of(self, keys: Sequence[str]) -> list[str]:
        return [key[len(self._stem) : -1] for key in keys[1:]]

    async def command(self, *args: Argument) -> Any:
        """Send a command, not a script, for a key of this keyspace; raise what `check_types` raises."""
        try:
            return await self.client.command(*args)
        except ErrorReply as refusal:
            if "WRONGTYPE" in str(refusal):
                key = str(args[1])
                await self.check_types([key[len(self._stem) :].partition("}")[0]] if key.startswith(self._stem) else [])
            raise

    async def check_types(self, names: Sequence[str]) -> None:
        """Raise DamagedQueue or StoreCorrupt for a key of a wrong type, which they name. names: where to look first."""
        await self._check_keys(self.root, _ROOT_TYPES, None)
        if not self.queue:  # the history is in no keyspace of one queue
            await self._check_history(await self._all_names())
        for name in dict.fromkeys((*names, *await self._all_names())):
            stem = self.prefix(name)
            await self._check_keys(stem, _QUEUE_TYPES, name)
            for key, expected in await self._other_keys(stem):
                await self._check_key(key, expected, name)

    async def _check_history(self, queues: Sequence[str]) -> None:
        """Raise StoreCorrupt for a key of the history of a wrong type."""
        today = day_of(await self.time())
        for day in range(today - COST_DAYS + 1, today + 1):
            await self._check_key(f"{self.root}:cost:{day}", "hash", None)
            await self._check_key(f"{self.root}:charged:{day}", "hash", None)
        for name in queues:
            for step in STEPS:
                await self._check_key(f"{self.root}:samples:{step.seconds}:{name}", "list", None)

    async def _other_keys(self, stem: str) -> list[tuple[str, str]]:
        """Return keys of a queue whose names depend on its jobs, with their types."""
        found: list[tuple[str, str]] = []
        for key in (await self.client.command("HKEYS", f"{stem}:k"))[:NAMED]:
            found += [(f"{stem}:r:{_shown(key)}", "list"), (f"{stem}:z:{_shown(key)}", "zset")]
        for page in (await self.client.command("HKEYS", f"{stem}:ac"))[:NAMED]:
            found.append((f"{stem}:a:{_shown(page)}", "list"))
        for kind in (await self.client.command("HKEYS", f"{stem}:pk"))[:NAMED]:
            found.append((f"{stem}:pk:{_shown(kind)}", "set"))
        for holders in ("leases", "gone"):
            for holder in await self.client.command("ZRANGE", f"{self.root}:{holders}", 0, NAMED):
                found.append((f"{stem}:h:{_shown(holder)}", "set"))
        return found

    async def _all_names(self) -> list[str]:
        return self._legible(await self.client.command("SMEMBERS", f"{self.root}:queues"))

    async def _check_keys(self, stem: str, types: Mapping[str, str], queue: str | None) -> None:
        for name, expected in types.items():
            await self._check_key(f"{stem}:{name}", expected, queue)

    async def _check_key(self, key: str, expected: str, queue: str | None) -> None:
        try:
            await self.client.command(_SIZES[expected], key)
        except ErrorReply as refusal:
            if "WRONGTYPE" not in str(refusal):
                raise
            text = (
                f"{self.client.address.shown}: the key {key} does not hold a {expected}: another program wrote it: "
                "RENAME it, and give that program another database"
            )
            raise (StoreCorrupt(text) if queue is None else DamagedQueue(text, queue)) from None

    async def _declare_again(self) -> None:
        logger.error(
            "%s was flushed: its jobs are lost. Its queues are declared again. Set appendonly yes, and use no cache "
            "server for jobs",
            self.client.address.shown,
        )
        await self.open()
        for topology in list(self.declared.values()):
            await self.declare(topology)
        if self.after_flush is not None:
            await self.after_flush()

    async def time(self) -> float:
        """Return the wall time that the scripts use."""
        if self._now is not None:
            return self._now()
        seconds, micros = await self.client.command("TIME", key=self.root)
        return int(seconds) + int(micros) / 1e6

    async def names(self) -> list[str]:
        """Return all queues of the keyspace."""
        return self._legible(await self.run(_LOOK, [self.root], "names"))

    def _legible(self, names: Iterable[bytes]) -> list[str]:
        """Return the names of queues, sorted, without those that no queue can have; the log names these once."""
        found: list[str] = []
        for raw in names:
            name = raw.decode(errors="backslashreplace")
            if fits(QUEUE_NAME, name):
                found.append(name)
            elif _told.is_news((self.root, raw), b""):
                logger.error(
                    "%s:queues has %r, which is no name of a queue: another program wrote it: SREM it", self.root, name
                )
        return sorted(found)

    async def changes(self, queues: Sequence[str]) -> list[bytes]:
        """Return the operators' changes of these queues as JSON, b"" for none."""
        return [(await self.command("HGET", f"{self.prefix(queue)}:c", "changes")) or b"" for queue in queues]

    async def check_owner(self, queue: str, app: str) -> None:
        """Raise ConfigurationError for a queue of another app."""
        owner = (await self.command("HGET", f"{self.prefix(queue)}:c", "app") or b"").decode(errors="backslashreplace")
        if owner and app and owner != app:
            raise of_another_app(queue, owner, app)

    async def declared_of(self, queue: str) -> Queue:
        """Return a queue as it was declared; with the defaults if it was not."""
        kept = await self.command("HGET", f"{self.prefix(queue)}:c", "declared")
        return _declaration(queue, kept)

    async def relook(self, queue: str) -> None:
        """Check the parked keys of a queue against changed limits, in short steps.

        If this is interrupted, the keys are checked within 10 s, or when their rate allows a job.
        """
        settings_key = f"{self.prefix(queue)}:c"
        last = await self.command("HGET", settings_key, "relook")
        cursor = b"0"
        while last is not None:
            cursor, parked = await self.command("ZSCAN", f"{self.prefix(queue)}:park", cursor, "COUNT", STEP)
            members = [each for each in parked[::2] if int(each[:15]) <= int(last)]
            if members:
                await self.run(_RELOOK, self.keys([queue]), *members)
            if cursor == b"0":
                await self.command("HDEL", settings_key, "relook")
                break

    async def declare(self, topology: Topology) -> None:
        """Set the bounds of queues; raise ConfigurationError, with nothing changed, for a queue of another app.

        A queue with a key of a wrong type is left out, so that the others can be used; raise StoreCorrupt when all are.
        """
        try:
            await self._declare(topology)
        except DamagedQueue as error:
            rest = tuple(queue for queue in topology.queues if queue.name != error.queue)
            if len(rest) in (0, len(topology.queues)):
                raise
            logger.error("queue %r is not declared, the others are: %s", error.queue, error)  # noqa: TRY400
            await self.declare(structs.replace(topology, queues=rest))
        self.declared.update((queue.name, part_of(topology, queue)) for queue in topology.queues)

    async def _declare(self, topology: Topology) -> None:
        names = [queue.name for queue in topology.queues]
        while names:
            args: list[Argument] = []
            for queue, changes in zip(topology.queues, await self.changes(names), strict=True):
                changed = adjusted(queue, changes_of(queue.name, changes)) if changes else queue
                kinds = topology.kinds_of.get(queue.name)
                named = msgspec.msgpack.encode([OTHER, *kinds] if kinds else [])
                args += [limits_of(changed), msgspec.json.encode(queue), changes, named]
            answer = await self.run(_DECLARE, self.keys(names), topology.app, *args)
            if answer == b"OK":
                break
            if answer[1] == b"owner":
                raise of_another_app(names[answer[0]], answer[2].decode(errors="backslashreplace"), topology.app)
        for queue in topology.queues:
            await self.relook(queue.name)


class KeyspaceOperations:
    """The base of the operations in one keyspace. is_open: returns whether the store is open."""

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        self.keyspace: Final = keyspace
        self._max_body = max_body
        self._is_open = is_open
