"""Schedules on the Redis store: a change of a record is applied only if it was made from the last revision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from outlast.brokers.redis.delivery import RowBuilder
from outlast.brokers.redis.keyspace import DamagedQueue, Keyspace, KeyspaceOperations, script
from outlast.clients.redis.client import Argument
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.settlement import Exists
from outlast.core.store.control import Answer
from outlast.core.ticking import UNREADABLE_SCHEDULE, advanced, amended, check_sizes, enlisted, named
from outlast.core.unreadable import READ_ERRORS, ToldOnce

__all__ = ["ScheduleOperations"]

_SCHEDULES: Final = script("clock", "base", "retain", "jobs", "moves", "succeed", "admit", "follow", "schedules")
_log = logging.getLogger("outlast.redis")
_decode: Final = msgspec.json.Decoder(ScheduleRecord).decode
_pack: Final = msgspec.msgpack.Encoder().encode


class _ScheduleSnapshot(Struct, frozen=True):
    """All records that can be read, stamps (revision and time at which each was last seen), and the other names."""

    records: dict[str, ScheduleRecord]
    stamps: dict[str, str]
    unreadable: set[str]


class ScheduleOperations(KeyspaceOperations):
    """Reads and changes the schedules of one keyspace."""

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        super().__init__(keyspace, max_body, is_open)
        self._unread_schedules = ToldOnce()

    async def schedule_changes(self) -> int:
        """Return the number of operators' changes of schedules."""
        return int(await self.keyspace.client.command("GET", f"{self.keyspace.root}:amends") or 0)

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        records = (await self._snapshot()).records
        return [records[name] for name in sorted(records)]

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules; raise ConfigurationError with nothing changed."""
        while entries:
            snapshot, now = await self._snapshot(), await self.keyspace.time()
            records = [enlisted(snapshot.records.get(entry.name), entry, now) for entry in entries]
            if await self._put(snapshot, {record.name: record for record in records}, by_operator=False):
                return records
        return []

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Apply the changes in order."""
        while changes:
            snapshot, now = await self._snapshot(), await self.keyspace.time()
            records: dict[str, ScheduleRecord | None] = {}
            answers = []
            for change in changes:
                before = records[change.name] if change.name in records else snapshot.records.get(change.name)
                damaged = change.name not in records and change.name in snapshot.unreadable
                record, answer = amended(before, change, now, damaged=damaged)
                answers.append(answer)
                if record is not None or answer.ok:
                    records[change.name] = record
            if await self._put(snapshot, records, by_operator=True):
                return answers
        return []

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Make the moves whose revision still counts, and publish their messages in the same step.

        In that step, messages for a queue of another keyspace are stored here, for the relay.
        """
        check_sizes(moves, self._max_body)
        if not moves:
            return []
        try:
            return await self._advance(moves)
        except DamagedQueue as error:  # the schedules of the other queues go on
            others = [move for move in moves if all(message.queue != error.queue for message in move.messages)]
            if len(others) == len(moves):
                raise
            _log.error("the schedules with jobs in queue %r do not fire: %s", error.queue, error)
            made = iter(await self.advance(others))
            return [next(made) if move in others else False for move in moves]

    async def _advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        keyspace, records = self.keyspace, (await self._snapshot()).records
        builder = RowBuilder(keyspace, first=6)
        rows: list[Any] = []
        for move in moves:
            record = records.get(move.name)
            body, expect = "", -1
            if record is not None and record.revision == move.expect:
                after = advanced(record, move, [Exists("")] * len(move.messages))
                body, expect = _body(after), move.expect
                records[move.name] = after
            rows.append((move.name, expect, body, move.skipped, builder.follow_ups(move.messages)))
        reply = await keyspace.run(
            _SCHEDULES, keyspace.keys(builder.numbers), "move", keyspace.default_limits, _pack(rows), *builder.records
        )
        return [bool(each) for each in reply]

    async def _snapshot(self) -> _ScheduleSnapshot:
        _, *fields = await self.keyspace.run(_SCHEDULES, [self.keyspace.root], "get")
        records: dict[str, ScheduleRecord] = {}
        stamps: dict[str, str] = {}
        unreadable: set[str] = set()
        for at in range(0, len(fields), 7):
            raw, revision, seen, *_ = row = fields[at : at + 7]
            name = raw.decode(errors="backslashreplace")
            if revision >= 0:
                stamps[name] = f"{revision} {seen.decode()}"
            try:
                records[name] = _record(name, row)
            except READ_ERRORS as error:
                unreadable.add(name)
                if self._unread_schedules.is_news(name, tuple(row)):
                    _log.error(UNREADABLE_SCHEDULE, name, name, error)
            else:
                self._unread_schedules.forget(name)
        return _ScheduleSnapshot(records, stamps, unreadable)

    async def _put(self, snapshot: _ScheduleSnapshot, records: dict[str, Any], *, by_operator: bool) -> bool:
        args: list[Argument] = []
        for name, record in records.items():
            args += [name, snapshot.stamps.get(name, ""), b"" if record is None else _packed(record)]
        return bool(await self.keyspace.run(_SCHEDULES, [self.keyspace.root], "put", "01"[by_operator], *args))


def _record(name: str, row: Sequence[Any]) -> ScheduleRecord:
    """Return the record of a row of lua/schedules.lua; raise one of READ_ERRORS."""
    _, revision, seen, fired, skipped, last, body = row
    return structs.replace(
        named(_decode(body), name),
        revision=revision,
        seen=float(seen),
        fired=fired,
        skipped=skipped,
        last=last.decode() or None,
    )


def _body(record: ScheduleRecord) -> str:
    return msgspec.json.encode(record).decode()


def _packed(record: ScheduleRecord) -> bytes:
    counts = (record.revision, record.seen, record.fired, record.skipped, record.last or "")
    return _pack((*counts, _body(record)))
