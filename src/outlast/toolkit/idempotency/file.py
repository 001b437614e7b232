"""The idempotency keys in the toolkit's SQLite file. An answer is synced before it is sent.

What a crash of the host could undo besides, a lease or its end, is void after it: sql/after_boot.sql.
"""

from __future__ import annotations

from typing import Final

from outlast.clients.sqlite.statements import load_statements
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.idempotency.records import GRACE, KeyFound

__all__ = ["FileKeys", "tidy_keys"]

_SQL: Final = load_statements(__package__, "keys.sql")
_STEP: Final = 50
"""Rows that one step removes: an answer may have a thousand pages."""


class FileKeys:
    """The records of a `ToolkitFile`."""

    def __init__(self, store: ToolkitFile) -> None:
        self._store = store

    async def begin(self, id: str, payload: bytes, token: str, lease: float) -> KeyFound:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> KeyFound:
            row = session.row(_SQL["find"], id, session.wall, session.tick - GRACE)
            if row is not None:
                had, holder, until, answer = row
                if answer is not None:
                    return KeyFound("answered", answer=answer) if had == payload else KeyFound("other-payload")
                if holder != token and until > session.tick:
                    return KeyFound("in-flight" if had == payload else "other-payload", left=until - session.tick)
            session.run(_SQL["put"], id, payload, token, session.tick + lease, 0.0, None)
            return KeyFound("begun")

        return await self._store.write(run, synced=False)

    async def renew(self, id: str, token: str, lease: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> bool:
            return session.run(_SQL["renew"], id, token, session.tick + lease, session.tick - GRACE) == 1

        return await self._store.write(run, synced=False)

    async def finish(self, id: str, payload: bytes, token: str, answer: bytes, ttl: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""

        def run(session: FileSession) -> bool:
            row = session.row(_SQL["find"], id, session.wall, session.tick - GRACE)
            if row is not None and row[1] != token:
                return False
            if row is None or row[3] is None:
                session.run(_SQL["put"], id, payload, token, 0.0, session.wall + ttl, answer)
            return True

        return await self._store.write(run, synced=True)

    async def free(self, id: str, token: str) -> None:  # noqa: A002
        """See `KeyRecords`."""

        await self._store.write(lambda session: session.run(_SQL["free"], id, token), synced=False)


def tidy_keys(session: FileSession) -> bool:
    """Remove some keys that have expired; return whether more may be left."""
    answered = session.run(_SQL["drop_answered"], session.wall, _STEP)
    held = session.run(_SQL["drop_held"], session.tick - GRACE, _STEP)
    return _STEP in (answered, held)
