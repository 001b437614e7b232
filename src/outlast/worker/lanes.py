"""The slots of one way to run (async, thread, process), and how far ahead it is worth claiming for them."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

__all__ = ["AHEAD", "Average", "Lane", "claim_ahead"]

T = TypeVar("T")

AHEAD: Final = 2
"""At most this many times the slots are claimed beyond them: one batch being claimed, one being settled."""

_MARGIN: Final = 1.5
"""Claim a little more than the average says, so that a fast batch does not leave the slots empty."""


def claim_ahead(slots: int, *, run: float, trip: float) -> int:
    """Return how many jobs to hold beyond `slots`: those that end while one batch is settled and the next claimed.

    Little's law: slots / run jobs end a second, and a slot waits two trips to the store for its next job. Jobs that
    run much longer than a trip give 0, so nothing is held that another worker could start now. `run` and `trip` are
    average seconds, 0 while unknown.
    """
    if run <= 0 or trip <= 0:
        return 0
    return min(AHEAD * slots, int(_MARGIN * slots * 2 * trip / run))


class Average:
    """A running average that forgets: each new value weighs `weight`, the first one all."""

    __slots__ = ("_weight", "value")

    def __init__(self, weight: float) -> None:
        self.value = 0.0
        self._weight = weight

    def add(self, value: float) -> None:
        """Take one more value."""
        self.value += (value - self.value) * self._weight if self.value else value


class Lane(Generic[T]):
    """Slots, how many are taken, and what waits for one. `held` counts both, and runs not settled yet; `settling` those
    of them that are on their way to the store.

    `stuck`: slots taken by runs that have ended all the same (a thread that did not return in time).
    """

    __slots__ = ("held", "run", "settling", "slots", "stuck", "taken", "waiting")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.taken = 0
        self.held = 0
        self.settling = 0
        self.stuck = 0
        self.waiting: deque[T] = deque()
        self.run = Average(0.05)

    def room(self, trip: float) -> int:
        """Return how many more jobs to claim for this lane."""
        ahead = claim_ahead(self.slots, run=self.run.value, trip=trip)
        return max(0, self.slots + ahead + self.settling - self.held - self.stuck)
