"""The idempotency keys in the toolkit's SQLite file. Every change is synced: a key must outlive a crash of the host."""

from __future__ import annotations

from typing import Final

from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.idempotency.records import CHANGE, GRACE, KeyFound

__all__ = ["FileKeys", "tidy_keys"]

_FIND: Final = "select payload, token, lease_until, answer from idempotency_key where id = ?1 and expires > ?2"
_PUT: Final = """
insert into idempotency_key (id, payload, token, lease_until, expires, answer) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (id) do update set payload = excluded.payload, token = excluded.token, lease_until = excluded.lease_until,
  expires = excluded.expires, answer = excluded.answer
"""
_RENEW: Final = """
update idempotency_key set lease_until = ?3, expires = ?4 where id = ?1 and token = ?2 and answer is null
"""
_FREE: Final = "delete from idempotency_key where id = ?1 and token = ?2 and answer is null"
_EXPIRED: Final = (
    "delete from idempotency_key where seq in (select seq from idempotency_key where expires <= ?1 limit ?2)"
)
_STEP: Final = 50
"""Rows that one step removes: an answer may have a thousand pages."""


class FileKeys:
    """The records of a `ToolkitFile`."""

    def __init__(self, store: ToolkitFile) -> None:
        self._store = store

    async def begin(self, id: str, payload: bytes, token: str, lease: float) -> KeyFound:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> KeyFound:
            row = session.row(_FIND, id, session.wall)
            if row is not None:
                had, holder, until, answer = row
                if answer is not None:
                    return KeyFound("answered", answer=answer) if had == payload else KeyFound("other-payload")
                if holder != token and until > session.tick:
                    return KeyFound("in-flight" if had == payload else "other-payload", left=until - session.tick)
            session.run(_PUT, id, payload, token, session.tick + lease, session.wall + lease + GRACE, None)
            return KeyFound("begun")

        return await self._store.write(run, synced=True)

    async def renew(self, id: str, token: str, lease: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> bool:
            return session.run(_RENEW, id, token, session.tick + lease, session.wall + lease + GRACE) == 1

        # Not synced: what a crash of the host could undo is a lease, and those end with the host.
        return await self._store.write(run, synced=False)

    async def finish(self, id: str, payload: bytes, token: str, answer: bytes, ttl: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> bool:
            row = session.row(_FIND, id, session.wall)
            if row is not None and row[1] != token:
                return False
            if row is None or row[3] is None:
                session.run(_PUT, id, payload, token, 0.0, session.wall + ttl, answer)
                session.changes.add(CHANGE)
            return True

        return await self._store.write(run, synced=True)

    async def free(self, id: str, token: str) -> None:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> None:
            if session.run(_FREE, id, token):
                session.changes.add(CHANGE)

        await self._store.write(run, synced=True)


def tidy_keys(session: FileSession) -> bool:
    """Remove some keys that have expired; return whether more may be left."""
    return session.run(_EXPIRED, session.wall, _STEP) == _STEP
