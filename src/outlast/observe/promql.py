"""Expressions that rules share: what counts as late, how fast that uses up what is allowed, what has risen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

__all__ = ["ALLOWED", "BURNS", "DEAD", "INTERVAL", "WINDOW", "Burn", "Recording"]
__all__ += ["burning", "highest", "recordings", "risen"]

INTERVAL: Final = 30
"""Seconds between two evaluations of a rule. The shares of a window count on it."""
WINDOW: Final = "10m"
"""For how long something that has happened fires."""
ALLOWED: Final = 0.01
"""The share of a month in which the oldest job of a queue may wait longer than the objective."""
_REMEMBERED: Final = "1d"
"""How long a figure is compared with its last value while it is not scraped."""
_SECONDS: Final = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200}

DEAD: Final = "outlast:queue_dead:total"
_LATE: Final = "outlast:queue_late:bool"


class Burn(Struct, frozen=True):
    """How fast the allowed share may be used up, as a multiple of what lasts a month, and over which two windows.

    The long window says that it matters, the short one that it still goes on. From chapter 5 of The Site Reliability
    Workbook (Google, 2018), table 5-8.
    """

    severity: Literal["page", "ticket"]
    factor: float
    long: str
    short: str


BURNS: Final = (
    Burn("page", 14.4, "1h", "5m"),
    Burn("page", 6, "6h", "30m"),
    Burn("ticket", 3, "1d", "2h"),
    Burn("ticket", 1, "3d", "6h"),
)


class Recording(Struct, frozen=True):
    """A series that Prometheus computes and keeps."""

    name: str
    expr: str


def highest(metric: str, labels: Sequence[str], matchers: str = "") -> str:
    """Return a figure of the store. Every exporter tells it with the same labels: the highest is the newest."""
    selected = f"{metric}{{{matchers}}}" if matchers else metric
    return f"max by ({', '.join(labels)}) ({selected})"


def burning(burn: Burn) -> str:
    """Return the share of the long window in which the queue was late, where both windows use up too much."""
    bound = f"{burn.factor * ALLOWED:.4g}"
    return f"{_share_name(burn.long)} > {bound} and {_share_name(burn.short)} > {bound}"


def risen(series: str, *, resets: bool = False) -> str:
    """Return by how much a counter has risen within WINDOW, where it has.

    A series that was not there before counts from 0: `increase` would not see the event that made it. One that was not
    scraped for a while is compared with its last value within a day. resets: it begins at 0 with each process;
    otherwise only with a new store.
    """
    before = f"last_over_time({series}[{_REMEMBERED}] offset {WINDOW})"
    if resets:
        return f"increase({series}[{WINDOW}]) > 0 or ({series} unless {before}) > 0"
    return f"({series} - {before} or {series}) > 0 or ({series} - min_over_time({series}[{WINDOW}])) > 0"


def recordings() -> list[Recording]:
    """Return what is computed before the alerts, in an order in which each uses earlier ones only."""
    queue = ("app", "queue")
    late = (
        f"{highest('outlast_queue_oldest_seconds', queue)} > bool {highest('outlast_queue_objective_seconds', queue)} "
        f"unless {highest('outlast_queue_paused', queue)} == 1"
    )
    totals = highest("outlast_jobs_ended_total", (*queue, "kind"), 'outcome="dead"')
    used = f"{highest('outlast_store_used_bytes', ('app',))} / {highest('outlast_store_limit_bytes', ('app',))}"
    return [
        Recording(_LATE, late),
        *(Recording(_share_name(window), _share(window)) for window in _SECONDS),
        Recording(DEAD, f"sum by (app, queue) ({totals})"),
        Recording("outlast:store_used:ratio", used),
    ]


def _share_name(window: str) -> str:
    return f"outlast:queue_late:ratio_{window}"


def _share(window: str) -> str:
    """Return the share of a window in which a queue was late. What was not measured counts as not late.

    avg_over_time would take the first late minute of a new queue for the whole window.
    """
    return f"sum_over_time({_LATE}[{window}]) / {_SECONDS[window] // INTERVAL}"
