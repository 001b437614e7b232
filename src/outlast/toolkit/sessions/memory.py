"""The sessions of one process, in memory."""

from __future__ import annotations

import heapq
from typing import Final

from msgspec import structs

from outlast.core.errors import StoreFull
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.sessions.decide import changed, is_live, size_of
from outlast.toolkit.sessions.rule import SessionRule
from outlast.toolkit.sessions.store import GRACE, SessionChange, SessionRecord, SessionSaved

__all__ = ["MOST_BYTES", "MemorySessions"]

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all sessions. Beyond them no session is made: to forget one early would log a user out."""
_OVERHEAD: Final = 1024


class _SessionSection:
    """The sessions of a toolkit, those of each user, and when each is to be removed."""

    def __init__(self) -> None:
        self.records: dict[str, SessionRecord] = {}
        self.of_user: dict[str, list[str]] = {}
        self.bytes = 0
        self._ends: list[tuple[float, str]] = []

    def put(self, id_: str, record: SessionRecord) -> None:
        self.remove(id_)
        self.records[id_] = record
        self.bytes += _OVERHEAD + size_of(record.fields)
        if record.user is not None:
            self.of_user.setdefault(record.user, []).append(id_)
        heapq.heappush(self._ends, (record.until, id_))

    def remove(self, id_: str) -> None:
        record = self.records.pop(id_, None)
        if record is None:
            return
        self.bytes -= _OVERHEAD + size_of(record.fields)
        if record.user is not None:
            ids = self.of_user[record.user]
            ids.remove(id_)
            if not ids:
                del self.of_user[record.user]

    def expire(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, id_ = heapq.heappop(self._ends)
            record = self.records.get(id_)
            if record is not None and record.until <= now:
                self.remove(id_)
        if len(self._ends) > 2 * len(self.records) + 64:  # each use of a session has pushed its new end
            self._ends = [(record.until, id_) for id_, record in self.records.items()]
            heapq.heapify(self._ends)


class MemorySessions:
    """The sessions of a `ToolkitMemory`."""

    def __init__(self, store: ToolkitMemory) -> None:
        self._store = store
        self._section = store.section("sessions", _SessionSection)

    def part_of(self, id: str) -> str:  # noqa: A002
        """See `SessionStore`."""
        return ""

    async def load(self, id: str, rule: SessionRule) -> SessionRecord | None:  # noqa: A002
        """See `SessionStore`."""
        with self._store.lock:
            now, section = self._begun()
            record = section.records.get(id)
            if record is not None and not record.moved and rule.is_due(record.until, now, record.ends):
                record = structs.replace(record, seen=now, until=rule.until(now, record.ends))
                section.put(id, record)
            return record

    async def save(self, id: str, change: SessionChange) -> SessionSaved:  # noqa: A002
        """See `SessionStore`. Raise StoreFull instead of making a session while all have MOST_BYTES."""
        with self._store.lock:
            now, section = self._begun()
            if change.create and section.bytes >= MOST_BYTES:
                raise StoreFull(
                    f"the sessions in memory have {MOST_BYTES:,} bytes: give toolkit_url='sqlite:PATH' or "
                    "'redis://HOST', or a shorter idle"
                )
            saved = changed(section.records.get(id), change, now)
            if saved.state == "saved" and saved.record is not None:
                if change.new_id:
                    section.put(id, SessionRecord(None, now, now, now + GRACE, now + GRACE, {}, moved=True))
                kept = change.new_id or id
                section.put(kept, saved.record)
                if change.user is not None:
                    self._bound(change.user, kept, change.rule.per_user)
            return saved

    def _bound(self, user: str, keep: str, most: int) -> None:
        """End the sessions of a user beyond `most` that were logged in first."""
        ids = sorted(self._section.of_user[user], key=lambda id_: (id_ == keep, self._section.records[id_].since))
        for id_ in ids[: max(0, len(ids) - most)]:
            self._section.remove(id_)

    async def take(self, id: str, prefix: str) -> dict[str, bytes]:  # noqa: A002
        """See `SessionStore`."""
        with self._store.lock:
            now, section = self._begun()
            record = section.records.get(id)
            if record is None or not is_live(record, now):
                return {}
            taken = {name: value for name, value in record.fields.items() if name.startswith(prefix)}
            left = {name: value for name, value in record.fields.items() if name not in taken}
            section.put(id, structs.replace(record, fields=left))
            return taken

    async def end(self, id: str) -> bool:  # noqa: A002
        """See `SessionStore`."""
        with self._store.lock:
            now, section = self._begun()
            was = is_live(section.records.get(id), now)
            if was:
                section.remove(id)
            return was

    async def of_user(self, user: str) -> list[tuple[str, SessionRecord]]:
        """See `SessionStore`."""
        with self._store.lock:
            _, section = self._begun()
            found = [(id_, section.records[id_]) for id_ in section.of_user.get(user, ())]
            return sorted(found, key=lambda each: each[1].since)

    async def end_user(self, user: str, keep: str) -> int:
        """See `SessionStore`."""
        with self._store.lock:
            _, section = self._begun()
            ids = [id_ for id_ in section.of_user.get(user, ()) if id_ != keep]
            for id_ in ids:
                section.remove(id_)
            return len(ids)

    def _begun(self) -> tuple[float, _SessionSection]:
        """Remove what has ended; return the time and the sessions."""
        now = self._store.clock.time()
        self._section.expire(now)
        return now, self._section
