"""When the toolkit's store or the place of objects counts as away: the guard around its calls, and what they raise."""

from __future__ import annotations

from typing import Final

from outlast.core.errors import DeadlinePassed, GuardOpen
from outlast.core.guards.policies import Breaker
from outlast.core.toolkit_errors import ToolkitAway
from outlast.resilience.guard import Guard

__all__ = ["OPEN_FOR", "guard_of", "is_away", "refused"]

OPEN_FOR: Final = 1.0
"""Seconds after a failed call in which no other is made; then one call tries the store."""


def guard_of(
    name: str,
    *,
    timeout: float,
    failures: tuple[type[Exception], ...],
    ignore: tuple[type[Exception], ...] = (),
) -> Guard:
    """Return the guard of a store in this process. failures: the errors of a call that tell of all calls."""
    # Of the last two calls one has failed: a store that hangs must cost one deadline, not one of each call.
    breaker = Breaker(
        window=2,
        minimum=1,
        failure_rate=0.5,
        open_for=OPEN_FOR,
        ramp=0,
        failures=failures,
        ignore=ignore,
        share=False,
    )
    return Guard(name, timeout=timeout, breaker=breaker)


def is_away(guard: Guard) -> bool:
    """Return whether calls are refused now: a call has failed in the last OPEN_FOR seconds, or one tries the store."""
    view = guard.view()
    return view.state == "half-open" or (view.state == "open" and view.next_probe != 0)


def refused(shown: str, error: GuardOpen | DeadlinePassed, why: str) -> ToolkitAway:
    """Return what a call raises that was not made."""
    late = isinstance(error, DeadlinePassed)
    return ToolkitAway(shown, why, retry_after=error.retry_after, by_deadline=late)
