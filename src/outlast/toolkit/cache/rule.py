"""What a caller asks for: how long a value is fresh, how long it may be used after that, and its tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, Final

from msgspec import Struct

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError, InvalidArguments, OutlastError
from outlast.core.text import shown

__all__ = ["CacheLimits", "CacheRule", "is_early", "may_be_early", "rng", "rule_of", "tag_list"]

rng: Final = Random()  # noqa: S311 - spreads times, guards nothing

MOST_TAGS: Final = 64
"""Of one entry: each is one more read of a version."""


class CacheLimits(Struct, frozen=True, kw_only=True):
    """The bounds of a cache: see `Cache.configure`."""

    max_value: int = 1024 * 1024
    max_bytes: int = 64 * 1024 * 1024
    compress_over: int = 4096
    concurrency: int = 16
    max_wait: float = 1.0
    max_waiting: int = 1000
    lease: float = 10.0

    def __post_init__(self) -> None:
        for name in ("max_value", "max_bytes", "compress_over", "concurrency"):
            value: object = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"cache.configure({name}={shown(value)}): give a whole number of 1 or more")
        waiting: object = self.max_waiting
        if type(waiting) is not int or waiting < 0:
            raise ConfigurationError(f"cache.configure(max_waiting={shown(waiting)}): give a whole number of 0 or more")
        if self.max_value > self.max_bytes:
            raise ConfigurationError(
                f"cache.configure(max_value={shown(self.max_value)}, max_bytes={self.max_bytes}): one value would not "
                "fit: raise max_bytes"
            )


class CacheRule(Struct, frozen=True):
    """How values of one declaration are kept. Times in seconds; none: how long None is kept, None for not at all.

    near: how long this process may use a copy of its own, 0 for none.
    """

    ttl: float
    jitter: float
    stale: float
    stale_on_error: float
    none: float | None
    early: float
    near: float

    def kept(self, fresh: float) -> float:
        """Return the seconds that an entry is kept that is fresh for `fresh` seconds."""
        return fresh + max(self.stale, self.stale_on_error)

    def fresh(self, value: object, draw: Callable[[], float]) -> float | None:
        """Return for how long a value is fresh, jittered so that many do not end at once; None: it is not kept."""
        ttl = self.none if value is None else self.ttl
        return None if ttl is None else ttl * (1.0 - self.jitter * draw())


def rule_of(
    *,
    ttl: Duration,
    jitter: float = 0.1,
    stale: Duration = 0,
    stale_on_error: Duration = 0,
    none_ttl: Duration | None = None,
    early: float = 1.0,
    near: Duration = 0,
) -> CacheRule:
    """Return the checked rule; raise ConfigurationError."""
    if type(jitter) not in (int, float) or not 0 <= jitter < 1:
        raise ConfigurationError(
            f"jitter={shown(jitter)}: give a share of ttl of 0 or more and less than 1, such as 0.1"
        )
    if type(early) not in (int, float) or not 0 <= early <= 100:
        raise ConfigurationError(f"early={shown(early)}: give 0 (no early refresh) to 100, such as 1")
    none = None if none_ttl is None else _above_0(none_ttl, "none_ttl")
    return CacheRule(
        _above_0(ttl, "ttl"),
        float(jitter),
        seconds(stale, "stale"),
        seconds(stale_on_error, "stale_on_error"),
        none,
        float(early),
        seconds(near, "near"),
    )


def tag_list(tags: object, wrong: type[OutlastError] = InvalidArguments) -> list[str]:
    """Return tags, or templates of tags, as a list of at most MOST_TAGS; raise `wrong`.

    Text itself would be a list of its characters.
    """
    if isinstance(tags, str | bytes | Mapping) or not isinstance(tags, Collection):
        raise wrong(f"tags={shown(tags)}: give a list of texts")
    if len(tags) > MOST_TAGS:
        raise wrong(f"tags: {len(tags):,} are given: give at most {MOST_TAGS}")
    return list(tags)


def _above_0(value: Any, name: str) -> float:
    found = seconds(value, name)
    if found < 0.001:
        raise ConfigurationError(f"{name}={shown(value)}: give a time of 1 ms or more, such as '5m'")
    return found


_LONGEST: Final = -math.log(1e-300)
"""The largest factor that a draw gives in `is_early`."""


def is_early(left: float, cost: float, early: float, draw: float) -> bool:
    """Return whether one reader computes a new value although the old one is fresh for `left` seconds.

    The chance grows as the end comes near, and with the time that the computation takes, so that of many readers about
    one begins before the end. draw: evenly from 0 to 1. early: above 1 for earlier (XFetch, from A. Vattani, F.
    Chierichetti, K. Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015).
    """
    return early > 0 and cost > 0 and -cost * early * math.log(max(draw, 1e-300)) >= left


def may_be_early(left: float, cost: float, early: float) -> bool:
    """Return whether some draw makes `is_early` true: for a cheap computation that is long before the end none does."""
    return left <= cost * early * _LONGEST
