"""The calendar periods of a board, in UTC: which one a time is in, and which ones are before it."""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["BoardPeriod", "period_of"]

MONDAY: Final = 4 * 86400
"""1970-01-05T00:00Z, a Monday: periods of a fixed length are counted from it, so that weeks begin on Mondays."""
_LENGTHS: Final = {"hour": 3600, "day": 86400, "week": 7 * 86400}
_MONTHS: Final = {"month": 1, "year": 12}
SHORTEST: Final = 60
LONGEST: Final = 366 * 86400
"""The bounds of a period, in seconds."""


class BoardPeriod(Struct, frozen=True):
    """Periods that follow each other without gaps, numbered. text: of keys. length: seconds; months: 0 for a length.

    A board without periods has one, whose length and months are 0.
    """

    text: str
    length: int = 0
    months: int = 0

    def __bool__(self) -> bool:
        return bool(self.length or self.months)

    def number(self, now: float) -> int:
        """Return the number of the period that has `now`, seconds since 1970."""
        if self.length:
            return (int(now // 1) - MONDAY) // self.length
        date = datetime.fromtimestamp(now, UTC)
        return (date.year * 12 + date.month - 1) // self.months

    def start(self, number: int) -> int:
        """Return when a period begins, in seconds since 1970."""
        if self.length:
            return MONDAY + number * self.length
        year, month = divmod(number * self.months, 12)
        return timegm((year, month + 1, 1, 0, 0, 0))


def period_of(period: object, setting: str) -> BoardPeriod:
    """Return the periods of a setting; raise ConfigurationError. None: there is one, which does not end.

    "month" and "year" are those of the calendar; "hour", "day", "week" and durations of whole seconds have a length.
    """
    if period is None:
        return BoardPeriod("all")
    if isinstance(period, str) and (months := _MONTHS.get(period)):
        return BoardPeriod(str(period), months=months)
    if isinstance(period, str) and (named := _LENGTHS.get(period)):
        length: float = named
    else:
        length = seconds(period, setting)
    if length != int(length) or not SHORTEST <= length <= LONGEST:
        raise ConfigurationError(
            f"{setting}={shown(period)}: give whole seconds from 1 minute to 366 days such as '1d', or 'month' or "
            "'year', or None for no periods"
        )
    return BoardPeriod(str(int(length)), length=int(length))
