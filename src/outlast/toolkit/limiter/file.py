"""Limits in the toolkit's file: one row a key, written without a sync; decisions share transactions."""

from __future__ import annotations

from functools import cache
from typing import Final

from msgspec import MsgspecError, msgpack

from outlast.clients.sqlite.statements import load_statements
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.limiter.decide import Outcome, State, decide
from outlast.toolkit.limiter.quotas import Rules
from outlast.toolkit.limiter.store import LIVE_FOR

__all__ = ["FileLimits", "tidy"]

TIDY_AT_ONCE: Final = 500
"""Expired rows that one step removes: a few ms."""
_encode: Final = msgpack.Encoder().encode
_decode: Final = msgpack.Decoder(State).decode


@cache
def _statements() -> dict[str, str]:
    return load_statements(__package__, "limits.sql")


def _read(raw: bytes) -> State | None:
    """Return a state; None for damage, which must not refuse a key until it expires."""
    try:
        return _decode(raw)
    except MsgspecError:
        return None


class FileLimits:
    """The limits of a file. Times are wall times: a limit per day goes on after a boot of the host."""

    def __init__(self, file: ToolkitFile) -> None:
        self._file = file

    async def take(self, rules: Rules, key: str, cost: int) -> Outcome:
        """Decide, and take the cost if it is admitted."""

        def run(session: FileSession) -> Outcome:
            now = int(session.wall * 1e6)
            row = session.row("select state, expires from limits where key = ?", key)
            outcome = decide(rules, _read(row[0]) if row is not None and row[1] > now else None, now, cost)
            if outcome.state is not None:
                session.run(_statements()["keep"], key, _encode(outcome.state), outcome.expires)
            return outcome

        return await self._file.write(run, synced=False)

    async def live(self, limiter: str, process: str) -> int:
        """Note that a process uses a limiter; return how many do."""

        def run(session: FileSession) -> int:
            since = session.tick - LIVE_FOR
            session.run(_statements()["note"], limiter, process, session.tick)
            session.run(_statements()["forget"], since)
            row = session.row("select count(*) from limit_processes where limiter = ?", limiter)
            return int(row[0]) if row is not None else 1

        return await self._file.write(run, synced=False)


def tidy(session: FileSession) -> bool:
    """Remove some keys that have expired, and the notes of processes that have ended; return whether more remain."""
    session.run(_statements()["forget"], session.tick - LIVE_FOR)
    return session.run(_statements()["tidy"], int(session.wall * 1e6), TIDY_AT_ONCE) == TIDY_AT_ONCE
