"""Cron in another way than cronsim's: from the stretches of time in which a zone's offset stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["ticks"]

_DAY = 86_400


def _field(text: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        low, _, high = span.partition("-")
        if span == "*":
            values = range(first, last + 1)
        elif high:
            values = range(int(low), int(high) + 1)
        else:
            values = range(int(low), (last if step else int(low)) + 1)
        found.update(values[:: int(step or 1)])
    return found


def _stretches(zone: ZoneInfo, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (from, to, offset) in seconds, of which the first two are instants."""

    def offset(at: int) -> int:
        found = datetime.fromtimestamp(at, zone).utcoffset()
        assert found is not None
        return int(found.total_seconds())

    start, at = begin, begin
    while at < end:
        later = min(at + 3600, end)
        if offset(later) != offset(at):
            low, high = at, later
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(at) else (low, middle)
            yield start, high, offset(at)
            start = high
        at = later
    yield start, end, offset(end - 1)


def ticks(expression: str, zone_name: str, begin: int, end: int) -> list[int]:
    """Return the instants in [begin, end) at which five numeric fields match, as Debian's cron has it.

    With a star in front of the minute or the hour: whenever the wall clock shows it. Else each wall time once: the
    first time where it comes twice, and where it never comes, the moment at which the clock jumps over it.
    """
    minute, hour, day, month, weekday = expression.split()
    minutes, hours = sorted(_field(minute, 0, 59)), sorted(_field(hour, 0, 23))
    days, months, weekdays = _field(day, 1, 31), _field(month, 1, 12), {each % 7 for each in _field(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")

    def matches(at: date) -> bool:
        by_day, by_weekday = at.day in days, at.isoweekday() % 7 in weekdays
        return at.month in months and (by_day and by_weekday if both else by_day or by_weekday)

    real = minute.startswith("*") or hour.startswith("*")
    stretches = list(_stretches(ZoneInfo(zone_name), begin - 3 * _DAY, end + 3 * _DAY))
    found: set[int] = set()
    seen = -(10**12)
    """The latest wall time, in seconds, that the clock has shown."""
    for start, stop, offset in stretches:
        if not real and seen > 0 and start + offset > seen:  # the clock jumps ahead
            found.update(start for _ in _walls(seen, start + offset, matches, hours=hours, minutes=minutes))
        floor = start + offset if real else max(start + offset, seen)
        found.update(wall - offset for wall in _walls(floor, stop + offset, matches, hours=hours, minutes=minutes))
        seen = max(seen, stop + offset)
    return sorted(at for at in found if begin <= at < end)


def _walls(low: int, high: int, matches: object, *, hours: list[int], minutes: list[int]) -> Iterator[int]:
    """Yield the wall times in [low, high), in seconds since 1970 as if in UTC."""
    assert callable(matches)
    at = datetime.fromtimestamp(low, UTC).date()
    while True:
        midnight = int(datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp())
        if midnight >= high:
            return
        if matches(at):
            for hour in hours:
                for minute in minutes:
                    wall = midnight + hour * 3600 + minute * 60
                    if low <= wall < high:
                        yield wall
        at += timedelta(days=1)
