"""Compute the ticks of a schedule: cron with cronsim and the tz database, intervals with arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from outlast.core.bounds import LAST_MOMENT
from outlast.core.errors import ConfigurationError
from outlast.core.schedule import Spec
from outlast.core.spread import offset_of, spread

__all__ = ["Ticks", "zone"]

COUNTED: Final = 1000
"""The most missed ticks that are counted one by one; the number of later ones is estimated."""


@lru_cache(maxsize=512)
def zone(name: str) -> tzinfo:
    """Return an IANA zone; raise ConfigurationError for an unknown name, or when there is no tz database."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    try:
        ZoneInfo("Europe/London")
    except (ZoneInfoNotFoundError, OSError):
        raise ConfigurationError(
            f"schedule tz={name!r}: this machine has no time zone database: pip install tzdata"
        ) from None
    raise ConfigurationError(f"schedule tz={name!r}: no such zone: give an IANA name, such as 'Europe/Berlin'")


class Ticks:
    """All ticks of one spec and name, the same in every process. Raise ConfigurationError for a spec without ticks.

    When clocks go forward, a cron tick in the skipped hour runs at the first minute after it; when they go back, a tick
    in the repeated hour runs once, the first time (as in Debian's cron). An expression whose minute or hour begins with
    `*` follows real time instead: it runs in both of the repeated hours.
    """

    __slots__ = ("_every", "_expression", "_offset", "_zone")

    def __init__(self, spec: Spec, name: str) -> None:
        self._offset = offset_of(name, spec.jitter)
        self._every = 0 if spec.every is None else round(spec.every * 1000)
        self._zone = zone(spec.tz)
        self._expression = ""
        if spec.cron is not None:
            self._expression = spread(spec.cron, name)
            try:
                next(CronSim(self._expression, datetime(2024, 1, 1, tzinfo=UTC)))
            except StopIteration:
                raise ConfigurationError(f"schedule cron={spec.cron!r} never ticks: check day and month") from None
            except (CronSimError, ValueError, AssertionError, TypeError) as error:
                raise ConfigurationError(
                    f"schedule cron={spec.cron!r} ({error}): give minute, hour, day of month, month and day "
                    "of week, such as '0 5 * * 1-5'"
                ) from None

    def after(self, moment: float) -> float | None:
        """Return the first tick after `moment` (wall time in seconds), None when there is none up to the year 9999."""
        return next(self.iterate(moment), None)

    def iterate(self, moment: float) -> Iterator[float]:
        """Yield the ticks after `moment`, ascending, up to the year 9999."""
        base = round((moment - self._offset) * 1000) / 1000  # else a rounding error would repeat a tick
        found = self._intervals(base) if self._every else self._cron(base)
        return (round((tick + self._offset) * 1000) / 1000 for tick in found)

    def _intervals(self, moment: float) -> Iterator[float]:
        count = round(moment * 1000) // self._every + 1
        while count * self._every / 1000 <= LAST_MOMENT:
            yield count * self._every / 1000
            count += 1

    def _cron(self, moment: float) -> Iterator[float]:
        last = moment
        try:
            for at in CronSim(self._expression, datetime.fromtimestamp(moment // 1, self._zone)):
                tick = at.timestamp()
                # A tick of the skipped hour may fall on another tick, and a start within the repeated hour yields the
                # ticks of its first pass again: without this check a tick would repeat or go backwards.
                if tick > last:
                    yield tick
                    last = tick
        except (OverflowError, ValueError):
            return  # dates end with the year 9999

    def due(self, after: float, now: float, most: int) -> tuple[list[float], int]:
        """Return the newest ticks in (after, now], at most `most`, ascending, and the number of those before them.

        This takes a fraction of a second for any period: beyond 1,000 missed ticks their number is estimated.
        """
        if self._every:
            return self._due_intervals(after, now, most)
        counted = max(COUNTED, most)
        found = list(islice(self._until(after, now), counted))
        if len(found) < counted:
            return found[-most:], max(0, len(found) - most)
        pace = (found[-1] - found[0]) / (counted - 1)
        reach = 2.0
        while True:  # search further back until `most` ticks are found: some expressions have long gaps
            start = max(found[-1], now - pace * (most + 1) * reach)
            rest = list(self._until(start, now))
            if start == found[-1]:
                everything = found + rest
                return everything[-most:], len(everything) - most
            if len(rest) >= most:
                return rest[-most:], counted + int((start - found[-1]) / pace) + len(rest) - most
            reach *= 4

    def _until(self, after: float, now: float) -> Iterator[float]:
        for tick in self.iterate(after):
            if tick > now:
                return
            yield tick

    def _due_intervals(self, after: float, now: float, most: int) -> tuple[list[float], int]:
        step, delay = self._every, round(self._offset * 1000)
        first = (round(after * 1000) - delay) // step + 1
        last = (int(now * 1000) - delay) // step
        if last < first:
            return [], 0
        begin = max(first, last - most + 1)
        return [(count * step + delay) / 1000 for count in range(begin, last + 1)], begin - first
