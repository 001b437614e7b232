"""The places of locks in the toolkit's file. A turn is on the disk before its holder has it; the rest is not synced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from outlast.aio.notifier import Notifier
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.lock.store import TICKET, Ask, Holding, Turn

__all__ = ["FileLocks", "tidy"]

_AHEAD: Final = """
select count(*), (select until from lock_places where holder = ?1 and token = 0)
from lock_places
where key = ?2 and until > ?3 and holder <> ?1
  and (token > 0 or ticket < ifnull((select ticket from lock_places where holder = ?1), 9e18))
"""
"""Those who have a turn or a place before ?1 of key ?2 at ?3, and when the place of ?1 ends."""
_TIDY: Final = 500


class FileLocks:
    """The places, for the processes of one host."""

    def __init__(self, file: ToolkitFile) -> None:
        self._file = file

    def listen(self, key: str, holder: str) -> Notifier:
        """Return what is notified when a turn of the key may be free."""
        return self._file.listen("lock")

    async def ask(self, ask: Ask) -> Turn:
        """Take a turn, keep it, or stand in line. What need not be written is read on the event loop."""
        now = self._file.clock.monotonic()
        ahead, until = self._file.read_row(_AHEAD, ask.holder, ask.key, now) or (0, None)
        free = ahead < ask.slots
        if not free and not ask.join:
            return Turn()
        if not free and until is not None and until - now > TICKET / 2:
            ticket, soon = self._file.read_row(
                "select ticket, (select min(until) from lock_places where key = ?2 and holder <> ?1) "
                "from lock_places where holder = ?1",
                ask.holder,
                ask.key,
            ) or (0, None)
            return Turn(0, ticket, TICKET if soon is None else soon - now)
        return await self._file.write(lambda session: _placed(session, ask, free), synced=free)

    async def renew(self, held: Sequence[Holding]) -> set[str]:
        """Keep turns; return the holders that have none any more."""

        def run(session: FileSession) -> set[str]:
            now = session.tick
            sql = "update lock_places set until = ? where holder = ? and token > 0 and until > ?"
            return {each.holder for each in held if not session.run(sql, now + each.lease, each.holder, now)}

        # A crash of the host ends every lease: none need survive one.
        return await self._file.write(run, synced=False)

    async def leave(self, held: Holding) -> None:
        """Give up the turn or the place in line, and notify those who wait."""

        def run(session: FileSession) -> None:
            left = session.run("delete from lock_places where holder = ?", held.holder)
            if left and session.row("select 1 from lock_places where key = ? and token = 0 limit 1", held.key):
                session.changes.add("lock")

        await self._file.write(run, synced=False)


def _placed(session: FileSession, ask: Ask, free: bool) -> Turn:
    """Take a turn, keep it, or stand in line. free: whether the commit is synced, without which none may be taken."""
    now = session.tick
    session.run("delete from lock_places where key = ? and until <= ?", ask.key, now)
    ticket, token = session.row("select ticket, token from lock_places where holder = ?", ask.holder) or (0, 0)
    if not token:
        ahead = session.rows(_AHEAD, ask.holder, ask.key, now)[0][0]
        if ahead < ask.slots and not free:
            return Turn(0, ticket, 0.0)
        if ahead < ask.slots:
            token = _next(session, ask.seen)
    if token:
        _keep(session, ask, ticket or token, token, now + ask.lease)
        return Turn(token)
    if ask.join:
        ticket = ticket or _next(session, ask.seen)
        _keep(session, ask, ticket, 0, now + TICKET)
    ends = session.row("select min(until) from lock_places where key = ? and holder <> ?", ask.key, ask.holder)
    return Turn(0, ticket, TICKET if ends is None or ends[0] is None else ends[0] - now)


def _keep(session: FileSession, ask: Ask, ticket: int, token: int, until: float) -> None:
    session.run(
        "insert into lock_places (holder, key, ticket, token, until) values (?, ?, ?, ?, ?) "
        "on conflict (holder) do update set token = excluded.token, until = excluded.until",
        ask.holder,
        ask.key,
        ticket,
        token,
        until,
    )


def _next(session: FileSession, seen: int) -> int:
    sql = "update lock_fence set last = max(last + 1, ?, ?) returning last"
    return int(session.rows(sql, int(session.wall * 1e6), seen + 1)[0][0])


def tidy(session: FileSession) -> bool:
    """Remove places that have ended; return whether more remain."""
    sql = "delete from lock_places where holder in (select holder from lock_places where until <= ? limit ?)"
    return session.run(sql, session.tick, _TIDY) == _TIDY
