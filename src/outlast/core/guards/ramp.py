"""The ramp: which share of the calls is made after a breaker has closed."""

from __future__ import annotations

from math import inf
from typing import Final

__all__ = ["FIRST_SHARE", "Ramp", "share", "slots_of"]

FIRST_SHARE: Final = 0.1
"""The share of the calls that is made at once."""


def share(closed_for: float, ramp: float) -> float:
    """Return the share of the calls that is made `closed_for` seconds after the breaker closed: FIRST_SHARE to 1.

    It grows evenly and is 1 from `ramp` seconds on: what has just recovered is not met by all callers at once. A time
    before the closing, of a clock that went back, counts as the closing.
    """
    passed = max(0.0, closed_for)
    return 1.0 if passed >= ramp else min(1.0, FIRST_SHARE + (1.0 - FIRST_SHARE) * passed / ramp)


def slots_of(part: float, slots: int) -> int:
    """Return how many of these slots may run jobs at a share: at least one, or nothing would show that all is well."""
    return max(1, int(part * slots)) if part > 0 else 0


class Ramp:
    """The ramp of one breaker, call by call. length: seconds. closed_at: when it began, -inf for none."""

    __slots__ = ("_credit", "_length", "closed_at")

    def __init__(self, length: float) -> None:
        self.closed_at = -inf
        self._length = length
        self._credit = 1.0  # grows by the share with each call; a call that is made costs 1

    def begin(self, closed_at: float) -> None:
        """Begin at the closing, or go on where a better time of it is known; -inf: make all calls."""
        self.closed_at = closed_at

    def end(self) -> None:
        """Make the first call of the next ramp: the breaker has opened."""
        self._credit = 1.0

    def share(self, now: float) -> float:
        """Return the share of the calls that is made now."""
        return share(now - self.closed_at, self._length)

    def left(self, now: float) -> float:
        """Return the seconds until all calls are made."""
        return self._length - (now - self.closed_at)

    def admits(self, now: float) -> bool:
        """Whether this call is one of the share: one for each whole unit of credit."""
        self._credit += self.share(now)
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True
