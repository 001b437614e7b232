"""Limits: how many jobs run at once, and how often one may begin (GCRA, in whole nanoseconds)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from outlast.core.durations import LONGEST, Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["NO_LIMIT", "Gcra", "Limit", "Rate", "check_limits", "nanos", "rate_of"]

_RATE: Final = re.compile(r"(?P<count>\d{1,15})\s*/\s*(?P<per>.+)\Z")
_PER: Final = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}


MOST: Final = 2**53
"""The highest value of a limit: no store keeps higher whole numbers exactly."""


def nanos(now: float) -> int:
    """Return wall time in whole nanoseconds. Rates are counted in them, so that rounding errors do not add up."""
    return int(now * 1e9)


class Rate(Struct, frozen=True):
    """`count` jobs in `per` seconds."""

    count: int
    per: float = 1.0

    def __str__(self) -> str:
        unit = next((name for name in ("s", "m", "h", "d", "ms") if _PER[name] == self.per), f"{self.per:.15g}s")
        return f"{self.count}/{unit}"


def rate_of(value: object, setting: str) -> Rate:
    """Return a rate from text such as "100/s", "10/minute" or "5/30s", or from a Rate.

    Raise ConfigurationError that names `setting` for any other value, and for a count that is not a whole number.
    """
    count: object = None
    per = 0.0
    if isinstance(value, Rate):
        count, per = value.count, value.per
    elif isinstance(value, str) and (match := _RATE.match(value.strip())):
        count, unit = int(match["count"]), match["per"].strip()
        per = _PER[unit] if unit in _PER else seconds(unit, setting)
    if type(count) is not int or count < 1 or not _is_period(per):
        raise ConfigurationError(f"{setting}={shown(value)}: give a rate such as '100/s', '10/minute' or '5/30s'")
    if count > per * 1e6:  # not count / per: no float may hold the count
        raise ConfigurationError(f"{setting}={shown(value)}: give at most 1,000,000 a second, or leave the limit out")
    return Rate(count, float(per))


def _is_period(per: object) -> bool:
    return isinstance(per, int | float) and 0 < per <= LONGEST


class Gcra(Struct, frozen=True):
    """The generic cell rate algorithm (ITU-T I.371). Its state is one number, the theoretical arrival time (`tat`).

    interval: nanoseconds per job, rounded up, so that a rate is never exceeded. burst: jobs that may begin at once.
    In any period of t nanoseconds at most burst + t / interval jobs begin.
    """

    interval: int
    burst: int

    @classmethod
    def of(cls, rate: Rate, burst: int | None) -> Gcra:
        """Return the algorithm for a rate. burst None: a tenth of the rate's count, at least 1."""
        interval = -(-int(rate.per * 1e9) // rate.count)
        return cls(interval, burst if burst is not None else max(1, rate.count // 10))

    def room(self, tat: int, now: int) -> int:
        """Return how many jobs may begin at `now`. A clock that was set back delays jobs by one burst at most."""
        return self.burst - -(-max(0, min(tat - now, self.burst * self.interval)) // self.interval)

    def taken(self, tat: int, now: int, jobs: int) -> int:
        """Return the state after `jobs` more jobs have begun at `now`."""
        return min(max(tat, now), now + self.burst * self.interval) + jobs * self.interval

    def next_at(self, tat: int, now: int) -> int:
        """Return when the next job may begin: `now` if one may begin at once."""
        begun = min(tat, now + self.burst * self.interval)
        return max(now, begun - (self.burst - 1) * self.interval)


class Limit(Struct, frozen=True, kw_only=True):
    """The limits of each key of a queue. None is no limit.

    concurrency: jobs running at once. rate: jobs that may begin, such as "10/s"; burst: how many of them at once, by
    default a tenth of the rate's count. max_depth: unfinished jobs; max_bytes: bytes of their arguments; max_age: how
    long the key's first ready job may have waited, a duration. The queue's `on_full` applies at the last three.
    """

    concurrency: int | None = None
    rate: Rate | None = None
    burst: int | None = None
    max_depth: int | None = None
    max_bytes: int | None = None
    max_age: float | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            concurrency: int | None = ...,
            rate: str | Rate | None = ...,
            burst: int | None = ...,
            max_depth: int | None = ...,
            max_bytes: int | None = ...,
            max_age: Duration | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_limits(self, "Limit")

    @property
    def gcra(self) -> Gcra | None:
        """The algorithm of the rate."""
        return None if self.rate is None else Gcra.of(self.rate, self.burst)


def check_limits(limits: Any, owner: str) -> None:
    """Check and convert the six limits of a frozen struct; raise ConfigurationError that names the wrong one."""
    for name in ("concurrency", "burst", "max_depth", "max_bytes"):
        value = getattr(limits, name)
        if value is not None and (type(value) is not int or not 1 <= value <= MOST):
            raise ConfigurationError(f"{owner}: {name}={shown(value)} must be a whole number, 1 or more, or None")
    if limits.rate is not None:
        structs.force_setattr(limits, "rate", rate_of(limits.rate, f"{owner}: rate"))
    elif limits.burst is not None:
        raise ConfigurationError(
            f"{owner}: burst={limits.burst!r} is the number of jobs that a rate lets begin at once: give rate= too"
        )
    if limits.max_age is not None:
        structs.force_setattr(limits, "max_age", seconds(limits.max_age, f"{owner}: max_age"))
        if limits.max_age == 0:
            raise ConfigurationError(f"{owner}: max_age=0 would refuse every job: give seconds above 0, or None")


NO_LIMIT: Final = Limit()
