"""What all guards of a process count: attempts by their end, retries, waits, openings; permits and budgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from outlast.core.errors import BulkheadFull, DeadlinePassed, GuardOpen
from outlast.core.guards.answers import CallOutcome
from outlast.meters import meters

__all__ = ["CLOSINGS", "OPENINGS", "GuardCounts", "GuardStanding", "show_standings"]

CALLS: Final = meters.counter(
    "outlast_guard_calls_total",
    "Attempts of guarded calls. success, failure, timeout, ignored: how one ended that was made; ignored says nothing "
    "about the dependency (it was cancelled, or raised an ignored error). open, full, late: not made, as the guard was "
    "open, its bulkhead full, or the deadline of the caller had passed.",
    ("guard", "outcome"),
)
RETRIES: Final = meters.counter(
    "outlast_guard_retries_total", "Attempts that were not the first of their call.", ("guard",)
)
OVER_BUDGET: Final = meters.counter(
    "outlast_guard_retries_over_budget_total", "Retries that were not made, as the budget was used up.", ("guard",)
)
WAITS: Final = meters.summary(
    "outlast_guard_wait_seconds", "Waits for a permit of the bulkhead, those in vain too.", ("guard",)
)
OPENINGS: Final = meters.counter(
    "outlast_guard_openings_total",
    "Openings of a guard in this process. by: its own calls, or others: another process or an operator.",
    ("guard", "by"),
)
CLOSINGS: Final = meters.summary(
    "outlast_guard_open_seconds", "How long a guard was open in this process, told when it closes.", ("guard",)
)
OPEN: Final = meters.gauge(
    "outlast_guard_open",
    "1 while a guard is open in a process; of one with keys, how many of them are open.",
    ("guard",),
    merging="max",
)
PERMITS: Final = meters.gauge("outlast_guard_permits", "The calls at once that the bulkheads permit.", ("guard",))
IN_USE: Final = meters.gauge("outlast_guard_permits_in_use", "Permits of the bulkhead that calls hold.", ("guard",))
WAITING: Final = meters.gauge("outlast_guard_waiting_calls", "Calls that wait for a permit.", ("guard",))
BUDGET: Final = meters.gauge("outlast_guard_retry_budget", "Retries that the budget has left.", ("guard",))

_MADE: Final[tuple[CallOutcome, ...]] = ("success", "failure", "neutral")
_shown: Final[set[str]] = set()
"""The guards whose gauges have a value."""


class GuardCounts:
    """The series of one guard, which exist from its declaration on."""

    __slots__ = ("_full", "_late", "_open", "ended", "over_budget", "retries", "success", "timeouts", "waits")

    def __init__(self, guard: str) -> None:
        self.ended: Final = {each: CALLS.of(guard, "ignored" if each == "neutral" else each) for each in _MADE}
        """How an attempt ended that was made."""
        self.success: Final = self.ended["success"]
        self.timeouts: Final = CALLS.of(guard, "timeout")
        self._open = CALLS.of(guard, "open")
        self._full = CALLS.of(guard, "full")
        self._late = CALLS.of(guard, "late")
        self.retries: Final = RETRIES.of(guard)
        self.over_budget: Final = OVER_BUDGET.of(guard)
        self.waits: Final = WAITS.of(guard)

    def not_made(self, error: BaseException) -> None:
        """Count an attempt that was not made."""
        if isinstance(error, GuardOpen):
            self._open.add()
        elif isinstance(error, BulkheadFull):
            self._full.add()
        elif isinstance(error, DeadlinePassed):
            self._late.add()
        else:  # cancelled while it waited
            self.ended["neutral"].add()


class GuardStanding(Struct, frozen=True):
    """What one guard is doing. open: breakers that are open, None without any; None also where a policy is missing."""

    name: str
    open: int | None
    permits: int | None
    in_use: int
    waiting: int
    budget: float | None


def show_standings(guards: Iterable[GuardStanding]) -> None:
    """Set the gauges of all guards; those of one name are added up, and those that are gone are shown no more."""
    by_name: dict[str, list[GuardStanding]] = {}
    for each in guards:
        by_name.setdefault(each.name, []).append(each)
    for name in _shown - by_name.keys():
        for gauge in (OPEN, PERMITS, IN_USE, WAITING, BUDGET):
            gauge.of(name).clear()
    _shown.intersection_update(by_name)
    for name, alike in by_name.items():
        _shown.add(name)
        if any(each.open is not None for each in alike):
            OPEN.of(name).set(sum(each.open or 0 for each in alike))
        if any(each.permits is not None for each in alike):
            PERMITS.of(name).set(sum(each.permits or 0 for each in alike))
            IN_USE.of(name).set(sum(each.in_use for each in alike))
            WAITING.of(name).set(sum(each.waiting for each in alike))
        if any(each.budget is not None for each in alike):
            BUDGET.of(name).set(sum(each.budget or 0.0 for each in alike))
