"""Boards and unique counts in the toolkit's file, written without a sync; changes share transactions."""

from __future__ import annotations

from functools import cache
from typing import Final

from outlast.clients.sqlite.statements import load_statements
from outlast.toolkit.boards.place import BoardPlace
from outlast.toolkit.boards.store import MOST_SCORE, ONCE_FOR, BoardChange, Standings
from outlast.toolkit.file import FileSession, ToolkitFile

__all__ = ["FileBoards", "tidy_boards"]

TIDY_AT_ONCE: Final = 500
"""Expired rows that one step removes: a few ms."""


@cache
def _statements() -> dict[str, str]:
    return load_statements(__package__, "boards.sql")


def _name(place: BoardPlace, window: str) -> str:
    return f"{place.kind}:{window}:{place.name}"


class FileBoards:
    """The boards of a file. Times are wall times."""

    def __init__(self, file: ToolkitFile) -> None:
        self._file = file

    def _here(self, place: BoardPlace, ago: int) -> str:
        """Return the name of the period to read."""
        return _name(place, place.window(self._file.clock.time(), ago).text)

    async def add(self, place: BoardPlace, member: bytes, points: int, once: str) -> BoardChange:
        """See `BoardStore`."""
        mark = f"{place.period.text} {place.name} {once}" if once else ""  # no key has a space

        def run(session: FileSession) -> BoardChange:
            board, members = _period(session, place)
            old = _score(session, board, member)
            if mark and session.row("select 1 from board_marks where mark = ? and expires > ?", mark, session.wall):
                return BoardChange("done", old or 0)
            score = (old or 0) + points
            if abs(score) > MOST_SCORE:
                return BoardChange("beyond", old or 0)
            change = _put(session, place, (board, members), member, score, new=old is None)
            if mark and change.state == "done":
                session.run(_statements()["mark"], mark, session.wall + ONCE_FOR)
            return change

        return await self._file.write(run, synced=False)

    async def put(self, place: BoardPlace, member: bytes, score: int) -> BoardChange:
        """See `BoardStore`."""

        def run(session: FileSession) -> BoardChange:
            board, members = _period(session, place)
            new = _score(session, board, member) is None
            return _put(session, place, (board, members), member, score, new=new)

        return await self._file.write(run, synced=False)

    async def remove(self, place: BoardPlace, member: bytes) -> bool:
        """See `BoardStore`."""

        def run(session: FileSession) -> bool:
            removed = session.row(_statements()["remove"], _name(place, place.window(session.wall).text), member)
            if removed is not None:
                session.run(_statements()["count"], removed[0], -1)
            return removed is not None

        return await self._file.write(run, synced=False)

    async def top(self, place: BoardPlace, ago: int, most: int) -> Standings:
        """See `BoardStore`."""
        rows = await self._file.read(_statements()["top"], self._here(place, ago), most)
        return Standings(1, [(member, score) for member, score in rows])

    async def around(self, place: BoardPlace, ago: int, member: bytes, most: int) -> Standings:
        """See `BoardStore`."""
        rows = await self._file.read(_statements()["around"], self._here(place, ago), member, most)
        return Standings(rows[0][2] if rows else 1, [(each, score) for each, score, _ in rows])

    async def rank(self, place: BoardPlace, ago: int, member: bytes) -> int:
        """See `BoardStore`. It counts the members before this one: its time grows with the rank."""
        rows = await self._file.read(_statements()["rank"], self._here(place, ago), member)
        return int(rows[0][0]) if rows else 0

    async def score(self, place: BoardPlace, ago: int, member: bytes) -> int | None:
        """See `BoardStore`."""
        row = self._file.read_row(_statements()["score"], self._here(place, ago), member)
        return None if row is None else int(row[0])

    async def size(self, place: BoardPlace, ago: int) -> int:
        """See `BoardStore`."""
        row = self._file.read_row(_statements()["size"], self._here(place, ago))
        return 0 if row is None else int(row[0])

    async def note(self, place: BoardPlace, member: bytes) -> BoardChange:
        """See `BoardStore`."""
        if await self.has(place, 0, member):
            return BoardChange("done")

        def run(session: FileSession) -> BoardChange:
            board, members = _period(session, place)
            if session.row("select 1 from unique_members where board = ? and member = ?", board, member):
                return BoardChange("done")
            if members >= place.most:
                return BoardChange("full")
            session.run(_statements()["note"], board, member)
            session.run(_statements()["count"], board, 1)
            return BoardChange("done", new=True)

        return await self._file.write(run, synced=False)

    async def has(self, place: BoardPlace, ago: int, member: bytes) -> bool:
        """See `BoardStore`."""
        return self._file.read_row(_statements()["has"], self._here(place, ago), member) is not None


def _period(session: FileSession, place: BoardPlace) -> tuple[int, int]:
    """Return the id of the present period, made if there is none, and the number of its members."""
    window = place.window(session.wall)
    found = session.rows(_statements()["period"], _name(place, window.text), window.expires or None)[0]
    return found[0], found[1]


def _score(session: FileSession, board: int, member: bytes) -> int | None:
    row = session.row("select -down from board_scores where board = ? and member = ?", board, member)
    return None if row is None else int(row[0])


def _put(
    session: FileSession, place: BoardPlace, period: tuple[int, int], member: bytes, score: int, *, new: bool
) -> BoardChange:
    board, members = period
    if new and members >= place.most:
        return BoardChange("full")
    session.run(_statements()["put"], board, member, -score)
    if new:
        session.run(_statements()["count"], board, 1)
    return BoardChange("done", score, new=new)


def tidy_boards(session: FileSession) -> bool:
    """Remove some members, periods and marks that have expired; return whether more may be left."""
    steps = ("tidy_scores", "tidy_members", "tidy_periods", "tidy_marks")
    removed = [session.run(_statements()[step], session.wall, TIDY_AT_ONCE) for step in steps]
    return TIDY_AT_ONCE in removed
