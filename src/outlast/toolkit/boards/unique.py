"""The exact count of different members, for each period or for all time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from outlast.aio.portal import portal
from outlast.core.toolkit_errors import BoardFull
from outlast.toolkit.boards.board import BoardCalls
from outlast.toolkit.boards.place import MEMBERS, BoardAway, member_bytes, periods_ago, place_of
from outlast.toolkit.boards.store import BoardChange

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit

__all__ = ["UniqueCount"]


class UniqueCount(BoardCalls):
    """Counts different members, exactly: visitors of a day, buyers of a product. `shop.unique(...)` returns one.

    Members are text of up to 512 bytes. The time is that of the store. While the store is away, `add` raises
    ToolkitAway; reads too, unless it is declared with away="empty". Each method has a form for blocking code, such as
    `add_sync`, which raises WrongThread on a thread that runs an event loop.
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
        super().__init__(toolkit, place_of("unique", name, period, keep=keep, most=max_members, away=away), away=away)

    async def add(self, member: str) -> bool:
        """Count a member in the present period; return whether it is new there. To repeat it is safe.

        Raise BoardFull for a new member of a full count, InvalidArguments, ToolkitAway.
        """
        raw = member_bytes(self._place, member)
        return self._is_new(await self._write(lambda boards: boards.note(self._place, raw)))

    def add_sync(self, member: str) -> bool:
        """Do as `add`, in blocking code."""
        return portal().run(lambda: self.add(member))

    async def has(self, member: str, *, ago: int = 0) -> bool:
        """Return whether a member was counted. ago: periods before the present one, up to `keep`."""
        raw, before = member_bytes(self._place, member), periods_ago(self._place, ago)
        return await self._read(lambda boards: boards.has(self._place, before, raw), False)

    def has_sync(self, member: str, *, ago: int = 0) -> bool:
        """Do as `has`, in blocking code."""
        return portal().run(lambda: self.has(member, ago=ago))

    async def count(self, *, ago: int = 0) -> int:
        """Return the number of members. ago: periods before the present one, up to `keep`."""
        before = periods_ago(self._place, ago)
        return await self._read(lambda boards: boards.size(self._place, before), 0)

    def count_sync(self, *, ago: int = 0) -> int:
        """Do as `count`, in blocking code."""
        return portal().run(lambda: self.count(ago=ago))

    def _is_new(self, change: BoardChange) -> bool:
        if change.state == "full":
            raise BoardFull(self._place.shown, self._place.most)
        return change.new
