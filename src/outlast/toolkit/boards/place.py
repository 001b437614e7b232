"""What a board or a unique count has declared, and the bounds of what it is given."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown
from outlast.toolkit.boards.period import BoardPeriod, period_of
from outlast.toolkit.keys import key_text

__all__ = ["BoardPlace", "BoardWindow", "BoardAway", "member_bytes", "member_text", "periods_ago", "place_of"]

KEEP: Final = 7
"""Earlier periods that are kept, if `keep` does not say it."""
MOST_KEPT: Final = 1000
MEMBERS: Final = 100_000
"""Members of one period, if `max_members` does not say it."""
MOST_MEMBERS: Final = 10_000_000
MEMBER_BYTES: Final = 512
"""The most bytes of a member in UTF-8."""

BoardAway = Literal["raise", "empty"]
"""What reads do while the store is away: raise ToolkitAway, or return what an empty board has."""


class BoardWindow(Struct, frozen=True):
    """One period of a board at some time. text: of its key. Times are whole seconds since 1970.

    start, ends: of the period at that time; both 0 without periods. expires: when the one of `text` is removed; 0:
    never.
    """

    text: str
    start: int
    ends: int
    expires: int


class BoardPlace(Struct, frozen=True):
    """Where a board is. kind: "board" or "unique"; name: as `key_text` returns it; shown: for people.

    keep: earlier periods that can be read. most: members of one period.
    """

    kind: str
    name: str
    shown: str
    period: BoardPeriod
    keep: int
    most: int

    def window(self, now: float, ago: int = 0) -> BoardWindow:
        """Return the period that is `ago` before that of `now`, seconds since 1970."""
        period = self.period
        if not period:
            return BoardWindow(period.text, 0, 0, 0)
        number = period.number(now)
        return BoardWindow(
            f"{period.text}:{period.start(number - ago)}",
            period.start(number),
            period.start(number + 1),
            period.start(number - ago + 1 + self.keep),
        )


def place_of(kind: str, name: object, period: object, *, keep: object, most: object, away: object) -> BoardPlace:
    """Return the place of a declaration; raise ConfigurationError, InvalidArguments for a name that is no text."""
    key = key_text(name, f"name of the {kind}")
    where = f"{kind} {shown(name)}"
    periods = period_of(period, f"{where}: period")
    if keep is not None and not periods:
        raise ConfigurationError(f"{where}: keep={shown(keep)} counts earlier periods: give period= too")
    kept = KEEP if keep is None else keep
    if type(kept) is not int or not 0 <= kept <= MOST_KEPT:
        raise ConfigurationError(f"{where}: keep={shown(keep)}: give a whole number from 0 to {MOST_KEPT:,}")
    if type(most) is not int or not 1 <= most <= MOST_MEMBERS:
        raise ConfigurationError(f"{where}: max_members={shown(most)}: give a whole number from 1 to {MOST_MEMBERS:,}")
    if away not in ("raise", "empty"):
        raise ConfigurationError(f"{where}: away={shown(away)}: give 'raise' or 'empty'")
    return BoardPlace(kind, key, where, periods, kept, most)


def member_bytes(place: BoardPlace, member: object) -> bytes:
    """Return a member in UTF-8, halves of surrogate pairs included; raise InvalidArguments."""
    if not isinstance(member, str) or not member:
        raise InvalidArguments(f"{place.shown}: member={shown(member)}: give text of at least one character")
    raw = str.encode(member[: MEMBER_BYTES + 1], "utf-8", "surrogatepass")
    if len(raw) > MEMBER_BYTES:
        raise InvalidArguments(
            f"{place.shown}: member={shown(member)} has more than {MEMBER_BYTES} bytes: give a shorter id"
        )
    return raw


def member_text(raw: bytes) -> str:
    """Return the text of a member."""
    return raw.decode("utf-8", "surrogatepass")


def periods_ago(place: BoardPlace, ago: object) -> int:
    """Return a number of periods before the present one; raise InvalidArguments if it is not kept."""
    most = place.keep if place.period else 0
    if type(ago) is not int or not 0 <= ago <= most:
        fix = f"give a whole number from 0 to keep={most}" if place.period else "without period= there is only 0"
        raise InvalidArguments(f"{place.shown}: ago={shown(ago)}: {fix}")
    return ago
