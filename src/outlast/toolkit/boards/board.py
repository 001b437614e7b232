"""The leaderboard of an app: members with scores, in one order on every store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from outlast.aio.portal import portal
from outlast.core.errors import InvalidArguments
from outlast.core.text import shown
from outlast.core.toolkit_errors import BoardFull, ToolkitAway
from outlast.toolkit.boards.forms import boards_of
from outlast.toolkit.boards.place import (
    MEMBERS,
    BoardAway,
    BoardPlace,
    member_bytes,
    member_text,
    periods_ago,
    place_of,
)
from outlast.toolkit.boards.store import MOST_SCORE, BoardChange, BoardStore, Standings
from outlast.toolkit.keys import key_text
from outlast.toolkit.metrics import BOARD_CALLS, degraded, series_of

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit
    from outlast.toolkit.store import ToolkitStore

__all__ = ["BoardCalls", "BoardEntry", "Leaderboard"]

T = TypeVar("T")

_READS: Final = series_of(BOARD_CALLS, "read", results=("ok", "away"))
_WRITES: Final = series_of(BOARD_CALLS, "write", results=("ok", "full", "beyond", "away"))
_AWAY: Final = degraded("board", "empty", "raised")
MOST_ENTRIES: Final = 1000
"""Entries of one `top`, and on each side of one `around`."""


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """A member of a board. rank: from 1; no two members have the same."""

    rank: int
    member: str
    score: int


class BoardCalls:
    """What boards and unique counts share: calls to the store, and their side while it is away."""

    def __init__(self, toolkit: Callable[[], Toolkit], place: BoardPlace, *, away: BoardAway) -> None:
        self._toolkit = toolkit
        self._place: Final = place
        self._empty = away == "empty"

    async def _use(self, step: Callable[[BoardStore], Awaitable[T]]) -> T:
        kit = self._toolkit()

        async def used(store: ToolkitStore) -> T:
            return await step(boards_of(store, kit.clock))

        return await kit.use(used)

    async def _write(self, step: Callable[[BoardStore], Awaitable[T]]) -> T:
        try:
            found = await self._use(step)
        except ToolkitAway:
            _WRITES["away"].add()
            _AWAY["raised"].add()
            raise
        state = found.state if isinstance(found, BoardChange) else "done"
        _WRITES["ok" if state == "done" else state].add()
        return found

    async def _read(self, step: Callable[[BoardStore], Awaitable[T]], empty: T) -> T:
        try:
            found = await self._use(step)
        except ToolkitAway:
            _READS["away"].add()
            _AWAY["empty" if self._empty else "raised"].add()
            if self._empty:
                return empty
            raise
        _READS["ok"].add()
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.shown})"


class Leaderboard(BoardCalls):
    """Members with scores, for each period or for all time. `shop.board(...)` returns one.

    The highest score is first; members of one score are in the order of their bytes in UTF-8. Members are text of up to
    512 bytes, scores whole numbers up to 2^53 - 1. The time is that of the store. While the store is away, writes raise
    ToolkitAway; reads too, unless the board is declared with away="empty". Each method has a form for blocking code,
    `add_sync` and so on, which raises WrongThread on a thread that runs an event loop.
    """

    def __init__(
        self,
        toolkit: Callable[[], Toolkit],
        name: str,
        *,
        period: object = None,
        keep: int | None = None,
        max_members: int = MEMBERS,
        away: BoardAway = "raise",
    ) -> None:
        super().__init__(toolkit, place_of("board", name, period, keep=keep, most=max_members, away=away), away=away)

    # Changes

    async def add(self, member: str, points: int = 1, *, once: str | None = None) -> int:
        """Add points to a member of the present period, which comes with its first; return its score.

        once: any text, such as the id of an order: for a day, another add with the same text changes nothing and
        returns the score as it is. Without it an add whose ToolkitAway has `uncertain` may have been done.

        Raise InvalidArguments for points or a sum beyond 2^53 - 1, BoardFull for a new member of a full board,
        ToolkitAway. Then nothing was added.
        """
        raw, number = member_bytes(self._place, member), self._whole(points, "points")
        mark = "" if once is None else key_text(once, f"{self._place.shown}: once")
        return self._added(await self._write(lambda boards: boards.add(self._place, raw, number, mark)), member, number)

    def add_sync(self, member: str, points: int = 1, *, once: str | None = None) -> int:
        """Do as `add`, in blocking code."""
        return portal().run(lambda: self.add(member, points, once=once))

    async def set(self, member: str, score: int) -> None:
        """Set the score of a member in the present period. Raise as `add` does."""
        raw, number = member_bytes(self._place, member), self._whole(score, "score")
        self._added(await self._write(lambda boards: boards.put(self._place, raw, number)), member, number)

    def set_sync(self, member: str, score: int) -> None:
        """Do as `set`, in blocking code."""
        portal().run(lambda: self.set(member, score))

    async def remove(self, member: str) -> bool:
        """Remove a member from the present period; return whether it was there. Raise ToolkitAway."""
        raw = member_bytes(self._place, member)
        return await self._write(lambda boards: boards.remove(self._place, raw))

    def remove_sync(self, member: str) -> bool:
        """Do as `remove`, in blocking code."""
        return portal().run(lambda: self.remove(member))

    # Reads: `ago` counts the periods before the present one, up to `keep`

    async def top(self, n: int = 10, *, ago: int = 0) -> list[BoardEntry]:
        """Return the best n members, up to 1,000."""
        most, before = self._entries(n, 1), periods_ago(self._place, ago)
        return _entries(await self._read(lambda boards: boards.top(self._place, before, most), _EMPTY))

    def top_sync(self, n: int = 10, *, ago: int = 0) -> list[BoardEntry]:
        """Do as `top`, in blocking code."""
        return portal().run(lambda: self.top(n, ago=ago))

    async def around(self, member: str, n: int = 5, *, ago: int = 0) -> list[BoardEntry]:
        """Return a member with up to n members before it and n after it; [] if it is not there."""
        raw, most, before = member_bytes(self._place, member), self._entries(n, 0), periods_ago(self._place, ago)
        return _entries(await self._read(lambda boards: boards.around(self._place, before, raw, most), _EMPTY))

    def around_sync(self, member: str, n: int = 5, *, ago: int = 0) -> list[BoardEntry]:
        """Do as `around`, in blocking code."""
        return portal().run(lambda: self.around(member, n, ago=ago))

    async def rank(self, member: str, *, ago: int = 0) -> int | None:
        """Return the rank of a member: 1 of the best, None if it is not there."""
        raw, before = member_bytes(self._place, member), periods_ago(self._place, ago)
        return await self._read(lambda boards: boards.rank(self._place, before, raw), 0) or None

    def rank_sync(self, member: str, *, ago: int = 0) -> int | None:
        """Do as `rank`, in blocking code."""
        return portal().run(lambda: self.rank(member, ago=ago))

    async def score(self, member: str, *, ago: int = 0) -> int | None:
        """Return the score of a member, None if it is not there."""
        raw, before = member_bytes(self._place, member), periods_ago(self._place, ago)
        return await self._read(lambda boards: boards.score(self._place, before, raw), None)

    def score_sync(self, member: str, *, ago: int = 0) -> int | None:
        """Do as `score`, in blocking code."""
        return portal().run(lambda: self.score(member, ago=ago))

    async def size(self, *, ago: int = 0) -> int:
        """Return the number of members."""
        before = periods_ago(self._place, ago)
        return await self._read(lambda boards: boards.size(self._place, before), 0)

    def size_sync(self, *, ago: int = 0) -> int:
        """Do as `size`, in blocking code."""
        return portal().run(lambda: self.size(ago=ago))

    # Checks

    def _whole(self, value: object, what: str) -> int:
        if type(value) is not int or abs(value) > MOST_SCORE:
            raise InvalidArguments(
                f"{self._place.shown}: {what}={shown(value)}: give a whole number of at most 2^53 - 1 ({MOST_SCORE:,})"
            )
        return value

    def _entries(self, n: object, least: int) -> int:
        if type(n) is not int or not least <= n <= MOST_ENTRIES:
            raise InvalidArguments(
                f"{self._place.shown}: n={shown(n)}: give a whole number from {least} to {MOST_ENTRIES:,}"
            )
        return n

    def _added(self, change: BoardChange, member: str, points: int) -> int:
        if change.state == "full":
            raise BoardFull(self._place.shown, self._place.most)
        if change.state == "beyond":
            raise InvalidArguments(
                f"{self._place.shown}: points={points} for {shown(member)}, which has {change.score}: the sum is "
                f"beyond 2^53 - 1 ({MOST_SCORE:,}), up to which all stores are exact: count in a larger unit"
            )
        return change.score


_EMPTY: Final = Standings(1, [])


def _entries(found: Standings) -> list[BoardEntry]:
    return [BoardEntry(found.first + at, member_text(raw), score) for at, (raw, score) in enumerate(found.members)]
