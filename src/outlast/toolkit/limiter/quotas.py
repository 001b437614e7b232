"""The limits of a limiter, parsed from text into the whole numbers that each store counts with."""

from __future__ import annotations

from hashlib import sha256
from math import gcd
from typing import Final, Literal

from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.limits import Rate, rate_of
from outlast.core.text import shown

__all__ = ["ALGORITHMS", "Algorithm", "Quota", "Rules", "rules_of"]

Algorithm = Literal["gcra", "sliding", "fixed"]

ALGORITHMS: Final = ("gcra", "sliding", "fixed")
STEPS: Final = 128
"""The entries of a sliding window: one a request up to this count; above it one a step of 1/128 of the period."""
SHORTEST: Final = 0.001
LONGEST: Final = 366 * 86400.0
"""The bounds of a period, in seconds."""
MOST_COUNT: Final = 10**12
MOST_QUOTAS: Final = 8
"""A decision over more limits would take too long."""
_EXACT: Final = 2**52
"""Sums of two numbers up to this one are exact in Lua too."""


class Quota(Struct, frozen=True):
    """One limit of a limiter. name: the limiter's, ":", the rate. Times are whole microseconds.

    burst: the most that is admitted at once (of a window: its count). GCRA counts in parts: a request costs `part`
    parts, and `drain` parts come back each microsecond; `burst * part` and a request's parts are exact in a double.
    step: the width of a step of a sliding window, 1 where each request has an entry of its own.
    """

    name: str
    count: int
    period: int
    burst: int
    part: int
    drain: int
    step: int

    @property
    def capacity(self) -> int:
        """The parts of the burst."""
        return self.burst * self.part


class Rules(Struct, frozen=True):
    """How a limiter decides. text: the same for the same rules, and another one for others: it is in every key."""

    algorithm: Algorithm
    quotas: tuple[Quota, ...]
    count_refused: bool
    text: str

    @property
    def most(self) -> int:
        """The highest cost that is ever admitted."""
        return min(quota.burst for quota in self.quotas)


def rules_of(
    name: str, limits: object, *, algorithm: object = "gcra", burst: int | None = None, count_refused: bool = False
) -> Rules:
    """Return the rules of limits such as "10/second, 1000/day"; raise ConfigurationError.

    burst: of the limit with the shortest period, with GCRA.
    """
    where = f"limiter({name!r})"
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(f"{where}: algorithm={shown(algorithm)}: give 'gcra', 'sliding' or 'fixed'")
    if type(count_refused) is not bool:
        raise ConfigurationError(f"{where}: count_refused={shown(count_refused)}: give True or False")
    rates = sorted(_rates(limits, f"{where}: limits"), key=lambda rate: rate.per)
    if burst is not None:
        if algorithm != "gcra":
            raise ConfigurationError(f"{where}: burst={shown(burst)}: only algorithm='gcra' has a burst: leave it out")
        if type(burst) is not int or not 1 <= burst <= MOST_COUNT:
            raise ConfigurationError(f"{where}: burst={shown(burst)} must be a whole number from 1 to {MOST_COUNT:,}")
    quotas = tuple(
        _quota(name, rate, rate.count if at or burst is None else burst, where) for at, rate in enumerate(rates)
    )
    numbers = [(quota.count, quota.period, quota.burst) for quota in quotas]
    digest = sha256(repr((algorithm, numbers, count_refused)).encode()).hexdigest()[:10]
    return Rules(algorithm, quotas, count_refused, digest)


def _rates(limits: object, setting: str) -> list[Rate]:
    parts: list[object]
    if isinstance(limits, str):
        parts = [part.strip() for part in limits[:1000].split(",")]
    elif isinstance(limits, list | tuple):
        parts = list(limits)
    else:
        parts = [limits]
    if not 1 <= len(parts) <= MOST_QUOTAS:
        raise ConfigurationError(f"{setting}={shown(limits)}: give 1 to {MOST_QUOTAS} limits")
    rates = [_rate(part, setting) for part in parts]
    if len({rate.per for rate in rates}) < len(rates):
        raise ConfigurationError(f"{setting}={shown(limits)}: two limits have the same period: keep the lower one")
    return rates


def _rate(part: object, setting: str) -> Rate:
    rate = rate_of(part, setting)
    if not SHORTEST <= rate.per <= LONGEST:
        raise ConfigurationError(f"{setting}={shown(part)}: give a period from 1 ms to 366 days")
    if rate.count > MOST_COUNT:
        raise ConfigurationError(f"{setting}={shown(part)}: give a count of at most {MOST_COUNT:,}")
    return rate


def _quota(name: str, rate: Rate, burst: int, where: str) -> Quota:
    period = round(rate.per * 1e6)
    part, drain = _parts(period, rate.count, burst)
    if burst * part > _EXACT:
        raise ConfigurationError(f"{where}: burst={burst} is too high for {rate}: give at most {_EXACT // part:,}")
    step = 1 if rate.count <= STEPS else -(-period // STEPS)
    return Quota(f"{name}:{rate}", rate.count, period, burst, part, drain, step)


def _parts(period: int, count: int, burst: int) -> tuple[int, int]:
    """Return (parts of a request, parts that come back in a microsecond), rounded so that a rate is never exceeded.

    They are exact where whole numbers below 2**52 can be: the least ones, or as many parts as fit.
    """
    common = gcd(period, count)
    if period // common * burst <= _EXACT:
        return period // common, count // common
    drain = max(1, (_EXACT - burst) * count // (period * burst))
    return -(-period * drain // count), drain
