"""Reads jobs and queues of one keyspace: records by id, pages of records, counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from outlast.brokers.redis.codec import LETTERS, unpack
from outlast.brokers.redis.keyspace import DamagedQueue, Keyspace, KeyspaceOperations, effective, script
from outlast.brokers.redis.loads import offers_in, samples_in
from outlast.clients.redis.client import Argument
from outlast.core.codec import redact_args
from outlast.core.forecast import Backlog, Sample, forecast_of, permits_in
from outlast.core.matching import ArgIs, holds
from outlast.core.message import TERMINAL, Failure, State, Usage
from outlast.core.store.broker import QueueStats
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.store.totals import OUTCOMES, Outcome
from outlast.core.topology import limits_of
from outlast.core.unreadable import READ_ERRORS, UNREADABLE, json_text, shown_args, unreadable

__all__ = ["RecordOperations", "failures_of", "pages"]

T = TypeVar("T")

_log = logging.getLogger("outlast.redis")

_LOOK: Final = script("clock", "base", "retain", "jobs", "moves", "live_loads", "look")
_WATCH: Final = script("clock", "base", "retain", "jobs", "moves", "watch")
STATES: Final[dict[bytes, State]] = {letter.encode(): state for state, letter in LETTERS.items()}
PAGE: Final = 1000
"""Acceptance numbers of one page, as in lua/clock.lua."""
_OUTCOMES: Final[dict[bytes, Outcome]] = dict(zip((b"s", b"d", b"c", b"e", b"h", b"r"), OUTCOMES, strict=True))
"""By how the fields of `t` begin (lua/clock.lua)."""
LOOKS = 200
"""The most pages that one `find` reads: 200,000 jobs."""
_failure: Final = msgspec.json.Decoder(Failure).decode
_usage: Final = msgspec.json.Decoder(Usage).decode
_texts: Final = msgspec.msgpack.Decoder(list[str]).decode


def failures_of(packed: bytes | None) -> tuple[Failure, ...]:
    """Return the failures that lua/settle.lua stored; one that cannot be read is told in its place."""
    if packed is None:
        return ()
    found: list[Failure] = []
    try:
        for text in _texts(packed):
            try:
                found.append(_failure(text))
            except READ_ERRORS as error:
                found.append(unreadable(error, what="a failure"))
    except READ_ERRORS as error:
        found.append(unreadable(error, what="its failures"))
    return tuple(found)


def _record(queue: str, row: list[Any]) -> JobRecord:
    """Return the record of a row of lua/look.lua; what cannot be read is left out, and told as the last failure."""
    sid, letter, stored, body, run_at, attempt, crashes, begun, reason, finished, *rest = row
    holder, cancelling, result, progress, usage, failures, bad, effects = rest
    ended = float(finished) or None
    try:
        if bad is not None:
            raise ValueError(bad.decode(errors="replace"))
        message = unpack(queue, f"{queue}.{sid.decode()}", body)
    except READ_ERRORS as error:
        id_ = f"{queue}.{sid.decode(errors='backslashreplace')}"
        return JobRecord(
            id=id_,
            queue=queue,
            kind="",
            state=STATES[letter],
            reason=UNREADABLE,
            args={},
            attempt=attempt,
            crashes=crashes,
            enqueued_at=0.0,
            run_at=0.0,
            finished_at=ended if STATES[stored] in TERMINAL else None,
            cancelling=bool(cancelling),
            failures=(unreadable(error, at=ended or 0.0),),
        )
    state = STATES[letter]
    expired = state == "expired" and stored != letter
    finished_at = message.expires_at if expired else float(finished) if STATES[stored] in TERMINAL else None
    told = list(failures_of(failures))
    extras: dict[str, Any] = {}
    for name, value, read in (
        ("raw_result", result, _json),
        ("raw_progress", progress, _json),
        ("raw_effects", effects, _json),
        ("usage", usage, _usage),
    ):
        try:
            extras[name] = None if value is None else read(value)
        except READ_ERRORS as error:
            told.append(unreadable(error, what=f"its {name}", attempt=attempt, at=ended or 0.0))
    args = shown_args(message.args, message.redacted, told, attempt)
    return JobRecord(
        id=message.id,
        queue=queue,
        kind=message.kind,
        state=state,
        reason="expired" if expired else None if reason is None else reason.decode(errors="replace"),
        args=args,
        priority=message.priority,
        key=message.key,
        unique=None if message.unique is None else message.unique.key,
        attempt=attempt,
        crashes=crashes,
        begun=bool(begun),
        enqueued_at=message.enqueued_at,
        run_at=float(run_at),
        expires_at=message.expires_at,
        finished_at=finished_at,
        holder=None if holder is None else holder.decode(errors="replace"),
        cancelling=bool(cancelling),
        failures=tuple(told),
        **extras,
    )


def effects_of(stored: bytes | None) -> Raw | None:
    """Return the results of effects that lua/control.lua read; raise one of READ_ERRORS if they cannot be read."""
    return None if stored is None else _json(stored)


def _json(value: bytes) -> Raw:
    return json_text(value.decode())


def _holds(record: JobRecord, body: bytes, query: Query) -> bool:
    """Return whether a job has the wanted arguments, and meets no condition of `without`. Unread, it has none."""
    args: dict[str, Any] = {}
    redacted: tuple[str, ...] = ()
    try:
        message = unpack("", "", body)
        args, redacted = redact_args(message.args, ()), message.redacted
    except READ_ERRORS:
        if query.args:
            return False
    return all(holds(args, redacted, each) for each in query.args) and not any(
        holds(args, redacted, each.value)
        if isinstance(each.value, ArgIs)
        else each.meets(queue=record.queue, kind=record.kind, key=record.key, reason=record.reason)
        for each in query.without
    )


def _addresses(ids: Sequence[str]) -> tuple[list[str], list[Argument]]:
    """Return the queues of these ids, and the flat list of (number of its queue among the KEYS, id in the queue)."""
    numbers: dict[str, int] = {}
    args: list[Argument] = []
    for id_ in ids:
        queue, _, sid = id_.partition(".")
        args += (numbers.setdefault(queue, len(numbers) + 1), sid)
    return list(numbers), args


async def pages(keyspace: Keyspace, queues: Sequence[str]) -> list[int]:
    """Return the numbers of the pages with jobs of these queues, the newest first."""
    if not queues:
        return []
    reply = await keyspace.run(_LOOK, keyspace.keys(queues), "pages")
    return sorted({int(number) for numbers in reply for number in numbers}, reverse=True)


def _conditions(query: Query) -> tuple[str, bytes]:
    states = "".join(LETTERS[state] for state in query.states)
    fields = (query.key, query.reason, query.kind, query.accepted_before, query.accepted_after)
    return states, msgspec.msgpack.encode([False if each is None else each for each in fields])


class RecordOperations(KeyspaceOperations):
    """Reads records, counts and queues of one keyspace."""

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""
        if not ids:
            return []
        queues, args = _addresses(ids)
        _, *rows = await self._look(queues, "get", *args)
        return [
            None if row is None else _record(id_.partition(".")[0], row) for id_, row in zip(ids, rows, strict=True)
        ]

    async def watch(self, waiter: str, ids: Sequence[str]) -> None:
        """Have the server notify `waiter` when one of these jobs ends."""
        queues, args = _addresses(ids)
        await self.keyspace.run(_WATCH, self.keyspace.keys(queues), waiter, *args)

    async def find(self, query: Query) -> Page:
        """Return one page, newest acceptance first; read PAGE jobs per script call, in at most LOOKS calls."""
        return await self._over(await self._queues_of(query), partial(self._find, query))

    async def _find(self, query: Query, queues: Sequence[str]) -> Page:
        states, conditions = _conditions(query)
        found: list[tuple[str, JobRecord]] = []
        looks = 0
        for page in await pages(self.keyspace, queues):
            if query.cursor and page * PAGE >= float(query.cursor):
                continue
            if looks == LOOKS:
                return Page([record for _, record in found], str((page + 1) * PAGE))
            looks += 1
            filtering = bool(query.args or query.without)
            most = PAGE if filtering else query.limit + 1 - len(found)
            reply = await self._look(queues, "page", page, states, conditions, "rows", query.cursor or "", most)
            for order, queue, row in reply[1:]:
                record = _record(queue.decode(), row)
                if not filtering or _holds(record, row[3], query):
                    found.append((order.decode(), record))
            if len(found) > query.limit:
                break
        page_of = found[: query.limit]
        more = len(found) > query.limit and bool(page_of)
        return Page([record for _, record in page_of], page_of[-1][0] if more else None)

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state."""
        if not query.args and not query.without:
            read = partial(self._tally, query=query, what="count")
            tally = await self._over(await self._queues_of(query), read)
            return {STATES[letter]: number for letter, number in tally.items()}
        counts: Counter[State] = Counter()
        page = Page([], cursor=None)
        while True:
            page = await self.find(msgspec.structs.replace(query, limit=PAGE, cursor=page.cursor))
            counts.update(record.state for record in page.records)
            if page.cursor is None:
                return dict(counts)

    async def kinds(self, queue: str) -> dict[str, int]:
        """Count the unfinished jobs of a queue by kind; read 1,000 jobs per script call."""
        unfinished = Query(states=tuple(state for state in LETTERS if state not in TERMINAL))
        counts = (await self._tally([queue], unfinished, "kinds")).items()
        return {kind.decode(errors="backslashreplace"): number for kind, number in counts}

    async def _tally(self, queues: Sequence[str], query: Query, what: str) -> Counter[bytes]:
        """Count matching jobs by state ("count") or by kind ("kinds"), as the server names them."""
        states, conditions = _conditions(query)
        counts: Counter[bytes] = Counter()
        for page in await pages(self.keyspace, queues):
            reply = await self._look(queues, "page", page, states, conditions, what, "")
            for at in range(0, len(reply), 2):
                counts[reply[at]] += int(reply[at + 1])
        return counts

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues, all known ones when empty."""
        names = list(queues) or await self.keyspace.names()
        return await self._over(names, self._stats)

    async def _stats(self, names: Sequence[str]) -> dict[str, QueueStats]:
        stats: dict[str, QueueStats] = {}
        if not names:
            return stats
        for row in await self._look(names, "stats"):
            name, depth, ready, scheduled, running, parked, dead, oldest, rate, paused, consumers, *bounds = row
            max_depth, size, max_bytes, shed, keys, keys_held, held, declared, changed, successors, *more = bounds
            now, ended, samples, live = more
            queue, changes = effective(name.decode(), declared, changed)
            stats[name.decode()] = QueueStats(
                depth=depth,
                ready=ready,
                scheduled=scheduled,
                running=running,
                parked=parked,
                successors=successors,
                dead=dead,
                oldest=float(oldest),
                drain_rate=float(rate),
                paused=bool(paused),
                consumers=consumers,
                max_depth=max_depth,
                bytes=size if max_bytes is not None else None,
                max_bytes=max_bytes,
                shed=shed,
                keys=keys,
                keys_held=keys_held,
                held=held.decode(),
                limits=limits_of(queue),
                changed=tuple(sorted(changes)),
                needs=queue.needs,
                forecast=forecast_of(
                    offers_in(live, queue.name),
                    samples_in(samples),
                    Backlog(Sample(float(now), depth, float(ended)), ready, running, queue.concurrency, queue.rate),
                    paused=bool(paused),
                    consumers=consumers,
                ),
                permits=permits_in(offers_in(live, queue.name)),
            )
        return stats

    async def totals(self, queues: Sequence[str] = ()) -> dict[tuple[str, str, Outcome], int]:
        """Return the number of ended jobs by queue, kind and outcome."""
        names = list(queues) or await self.keyspace.names()
        return await self._over(names, self._totals)

    async def _totals(self, names: Sequence[str]) -> dict[tuple[str, str, Outcome], int]:
        rows = await self._look(names, "totals") if names else []
        found: dict[tuple[str, str, Outcome], int] = {}
        for name, fields in zip(names, rows, strict=True):
            counts = dict(zip(fields[::2], fields[1::2], strict=True))
            for kind in {field[1:] for field in counts}:
                for letter, outcome in _OUTCOMES.items():
                    count = counts.get(letter + kind, b"0")
                    found[name, kind.decode(errors="replace"), outcome] = int(count) if count.isdigit() else 0
        return found

    async def _queues_of(self, query: Query) -> list[str]:
        return [query.queue] if query.queue is not None else await self.keyspace.names()

    async def _over(self, queues: Sequence[str], read: Callable[[Sequence[str]], Awaitable[T]]) -> T:
        """Return what `read` returns for those of several queues whose keys can be read; the log names the others."""
        left = list(queues)
        while True:
            try:
                return await read(left)
            except DamagedQueue as error:
                if len(queues) < 2 or error.queue not in left:
                    raise
                left.remove(error.queue)
                _log.error("queue %r is left out: %s", error.queue, error)

    async def _look(self, queues: Sequence[str], *args: Argument) -> Any:
        return await self.keyspace.run(_LOOK, self.keyspace.keys(queues), *args)
