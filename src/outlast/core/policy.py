"""The defaults of Outlast in one table, and what a kind of job may set of its own."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final, Literal

from msgspec import Struct, field

from outlast.core.backoff import Backoff, Exponential
from outlast.core.errors import ConfigurationError

__all__ = ["DEFAULTS", "HEAD_START", "Defaults", "Policy", "Priority", "Retention", "Retry", "seconds"]

Priority = Literal["high", "normal", "low"]


class Defaults(Struct, frozen=True):
    """What holds when nothing is declared. Times in seconds, sizes in bytes."""

    lease: float = 10.0
    timeout: float = 300.0
    kill_grace: float = 5.0
    concurrency: int = 100
    threads: int = 10
    attempts: int = 5
    backoff_base: float = 1.0
    backoff_cap: float = 300.0
    drain_grace: float = 30.0
    record_ttl: float = 24 * 3600.0
    records_kept: int = 10_000
    result_ttl: float = 24 * 3600.0
    dead_ttl: float = 30 * 24 * 3600.0
    id_memory: float = 24 * 3600.0
    max_body: int = 1024 * 1024
    head_start: float = 60.0
    park: float = 5.0
    solo_after_crashes: int = 2
    failures_kept: int = 10


DEFAULTS: Final = Defaults()

HEAD_START: Final[dict[Priority, float]] = {
    "high": DEFAULTS.head_start,
    "normal": 0.0,
    "low": -DEFAULTS.head_start,
}
"""Seconds a priority is moved ahead of its due time: a fixed number, so a waiting job ages by itself."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)\Z")


def seconds(value: float | str | timedelta, setting: str) -> float:
    """Return a duration in seconds from a number, a timedelta or text such as "5m" (units ms, s, m, h, d).

    Raise ConfigurationError that names `setting` when it is not a duration of 0 or more.
    """
    number: float | None = None
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, str):
        if match := _DURATION.match(value.strip()):
            number = float(match["amount"]) * _UNITS[match["unit"]]
    elif type(value) in {int, float}:
        number = float(value)
    if number is None or not math.isfinite(number) or number < 0:
        raise ConfigurationError(
            f"{setting}={value!r}: give seconds as a number, a timedelta, or text such as '30s', '5m', '2h' (0 or more)"
        )
    return number


class Retry(Struct, frozen=True, kw_only=True):
    """When a failed run is tried again.

    attempts: runs in all, 1 or more. retry_on, give_up_on: exception classes; give_up_on wins. budget: seconds from
    the time the job was first due; no attempt starts after it.
    """

    attempts: int = DEFAULTS.attempts
    backoff: Backoff = field(default_factory=lambda: Exponential(base=DEFAULTS.backoff_base, cap=DEFAULTS.backoff_cap))
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(
                f"Retry(attempts={self.attempts}): attempts counts the first run, so give 1 or more"
            )
        if self.budget is not None and not self.budget > 0:
            raise ConfigurationError(f"Retry(budget={self.budget}): give seconds above 0, or None for no budget")


class Policy(Struct, frozen=True, kw_only=True):
    """What `decide` needs to know about a kind of job. Times in seconds; timeout None: no limit."""

    retry: Retry = field(default_factory=Retry)
    timeout: float | None = DEFAULTS.timeout
    result_ttl: float = DEFAULTS.result_ttl


class Retention(Struct, frozen=True, kw_only=True):
    """How long ended jobs stay to be looked at. Seconds, but for `records`: the most ended jobs kept per queue.

    A job that left a result is kept for the result's own time (`Policy.result_ttl`) and not counted in `records`;
    ids are remembered for `id_memory` after acceptance whatever is removed.
    """

    record_ttl: float = DEFAULTS.record_ttl
    records: int = DEFAULTS.records_kept
    dead_ttl: float = DEFAULTS.dead_ttl
    id_memory: float = DEFAULTS.id_memory
