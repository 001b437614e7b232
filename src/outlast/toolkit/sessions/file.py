"""The sessions in the toolkit's SQLite file. What a crash of the host may undo is the note of a use only."""

from __future__ import annotations

from typing import Any, Final

from msgspec import DecodeError, msgpack

from outlast.clients.sqlite.statements import load_statements
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.sessions.decide import changed
from outlast.toolkit.sessions.rule import SessionRule
from outlast.toolkit.sessions.store import GRACE, SessionChange, SessionRecord, SessionSaved

__all__ = ["FileSessions", "tidy_sessions"]

_SQL: Final = load_statements(__package__, "sessions.sql")
_STEP: Final = 200
"""Rows that one step removes."""
_decode: Final = msgpack.Decoder(dict[str, bytes]).decode
_encode: Final = msgpack.Encoder().encode


class FileSessions:
    """The sessions of a `ToolkitFile`."""

    def __init__(self, store: ToolkitFile) -> None:
        self._store = store

    def part_of(self, id: str) -> str:  # noqa: A002
        """See `SessionStore`."""
        return ""

    async def load(self, id: str, rule: SessionRule) -> SessionRecord | None:  # noqa: A002
        """See `SessionStore`. The row is read on the event loop."""
        now = self._store.clock.time()
        record = _record(self._store.read_row(_SQL["find"], bytes.fromhex(id), now))
        if record is not None and not record.moved and rule.is_due(record.until, now, record.ends):
            record.seen, record.until = now, rule.until(now, record.ends)
            until = record.until
            touch = await self._store.write(
                lambda session: session.run(_SQL["touch"], bytes.fromhex(id), session.wall, until), synced=False
            )
            if not touch:  # it was ended, replaced, or used by another request meanwhile
                record = _record(self._store.read_row(_SQL["find"], bytes.fromhex(id), now))
        return record

    async def save(self, id: str, change: SessionChange) -> SessionSaved:  # noqa: A002
        """See `SessionStore`."""

        def run(session: FileSession) -> SessionSaved:
            digest, now = bytes.fromhex(id), session.wall
            saved = changed(_found(session, digest), change, now)
            if saved.state != "saved" or saved.record is None:
                return saved
            kept = bytes.fromhex(change.new_id) if change.new_id else digest
            if change.new_id:
                _put(session, digest, SessionRecord(None, now, now, now + GRACE, now + GRACE, {}, moved=True))
            _put(session, kept, saved.record)
            if change.user is not None:
                session.run(_SQL["bound"], change.user, kept, change.rule.per_user - 1, now)
            return saved

        return await self._store.write(run, synced=True)

    async def take(self, id: str, prefix: str) -> dict[str, bytes]:  # noqa: A002
        """See `SessionStore`."""

        def run(session: FileSession) -> dict[str, bytes]:
            record = _found(session, bytes.fromhex(id))
            if record is None or record.moved:
                return {}
            taken = {name: value for name, value in record.fields.items() if name.startswith(prefix)}
            if taken:
                left = {name: value for name, value in record.fields.items() if name not in taken}
                session.run(_SQL["keep_fields"], bytes.fromhex(id), _encode(left))
            return taken

        return await self._store.write(run, synced=True)

    async def end(self, id: str) -> bool:  # noqa: A002
        """See `SessionStore`."""

        def run(session: FileSession) -> bool:
            return session.run(_SQL["end"], bytes.fromhex(id), session.wall) == 1

        return await self._store.write(run, synced=True)

    async def of_user(self, user: str) -> list[tuple[str, SessionRecord]]:
        """See `SessionStore`."""
        rows = await self._store.read(_SQL["of_user"], user, self._store.clock.time())
        found = ((bytes(row[0]).hex(), _record(row[1:])) for row in rows)
        return [(id_, record) for id_, record in found if record is not None]

    async def end_user(self, user: str, keep: str) -> int:
        """See `SessionStore`."""

        def run(session: FileSession) -> int:
            return session.run(_SQL["end_user"], user, bytes.fromhex(keep), session.wall)

        return await self._store.write(run, synced=True)


def _found(session: FileSession, digest: bytes) -> SessionRecord | None:
    return _record(session.row(_SQL["find"], digest, session.wall))


def _record(row: tuple[Any, ...] | None) -> SessionRecord | None:
    if row is None:
        return None
    user, since, seen, ends, until, packed, moved = row
    try:
        fields = _decode(packed)
    except DecodeError:  # a damaged row is no session, as a damaged key of a server is none
        return None
    return SessionRecord(user, since, seen, ends, until, fields, bool(moved))


def _put(session: FileSession, digest: bytes, record: SessionRecord) -> None:
    session.run(
        _SQL["put"],
        digest,
        record.user,
        record.since,
        record.seen,
        record.ends,
        record.until,
        _encode(record.fields),
        int(record.moved),
    )


def tidy_sessions(session: FileSession) -> bool:
    """Remove some sessions that have ended; return whether more may be left."""
    return session.run(_SQL["drop_ended"], session.wall, _STEP) == _STEP
