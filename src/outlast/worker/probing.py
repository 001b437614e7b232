"""What the end of a run says of a guard that the run was to probe, and did not call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from outlast.core.guards.answers import CallOutcome
from outlast.core.settlement import Finish, Reschedule, Settlement
from outlast.resilience.passes import Pass

__all__ = ["end_passes", "probe_outcome"]

_NOT_RUN: Final = ("invalid-arguments", "kind-missing", "object-missing", "object-damaged")


def probe_outcome(settlement: Settlement) -> CallOutcome:
    """Return what the end of a run says of a guard that it was to probe and did not call."""
    if isinstance(settlement, Finish):
        if settlement.state == "succeeded":
            return "success"
        return "failure" if settlement.state == "dead" and settlement.reason not in _NOT_RUN else "neutral"
    failed = isinstance(settlement, Reschedule) and settlement.error is not None and settlement.begun
    return "failure" if failed else "neutral"


def end_passes(passes: Collection[Pass], settlement: Settlement) -> None:
    """End the passes of a run that has ended so.

    A run that fails after a call to one of the guards that it probes says nothing of the others: a dependency that is
    down would keep them open.
    """
    outcome = probe_outcome(settlement)
    if outcome == "failure" and any(each.decided for each in passes):
        outcome = "neutral"
    for each in passes:
        each.end(outcome)
