"""Exceptions that a handler raises to snooze its job or give it up: control flow, not errors."""

from __future__ import annotations

from outlast.core.durations import Duration
from outlast.core.durations import seconds as in_seconds
from outlast.core.errors import OutlastError

__all__ = ["GiveUp", "Snooze"]


class Snooze(OutlastError):
    """Raise in a handler to run again after `seconds`, a duration, without using an attempt."""

    def __init__(self, seconds: Duration) -> None:
        self.seconds: float = in_seconds(seconds, "Snooze(seconds)")
        super().__init__(f"snoozed for {self.seconds:g} s")


class GiveUp(OutlastError):
    """Raise in a handler to end the job as dead at once, even if attempts are left."""
