"""What the end of a run says of a guard that the run was to probe, and did not call."""

from __future__ import annotations

from typing import Final

from outlast.core.guards.answers import CallOutcome
from outlast.core.settlement import Finish, Reschedule, Settlement

__all__ = ["probe_outcome"]

_NOT_RUN: Final = ("invalid-arguments", "kind-missing")


def probe_outcome(settlement: Settlement) -> CallOutcome:
    """Return what the end of a run says of a guard that it was to probe and did not call."""
    if isinstance(settlement, Finish):
        if settlement.state == "succeeded":
            return "success"
        return "failure" if settlement.state == "dead" and settlement.reason not in _NOT_RUN else "neutral"
    failed = isinstance(settlement, Reschedule) and settlement.error is not None and settlement.begun
    return "failure" if failed else "neutral"
