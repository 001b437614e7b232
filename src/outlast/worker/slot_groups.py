"""The slots of one way to run jobs (on the loop, in a thread, in a process, alone), and the number of jobs to hold."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

__all__ = ["AHEAD", "Average", "SlotGroup", "claim_ahead"]

T = TypeVar("T")

AHEAD: Final = 2
"""At most this many times the slots are claimed in addition: one batch being claimed, one being settled."""

_MARGIN: Final = 1.5
"""Claim more than the average says, so that a fast batch does not leave slots empty."""


def claim_ahead(slots: int, *, run: float, trip: float) -> int:
    """Return how many jobs to hold beyond `slots`: those that end while one batch is settled and the next claimed.

    Little's law: slots / run jobs end in a second, and a slot waits two round trips for its next job. For jobs that run
    much longer than a round trip this is 0, so that no job is held that another worker could start now.
    run, trip: average seconds, 0 while unknown.
    """
    if run <= 0 or trip <= 0:
        return 0
    return min(AHEAD * slots, int(_MARGIN * slots * 2 * trip / run))


class Average:
    """A moving average: each new value weighs `weight`, the first one 1."""

    __slots__ = ("_weight", "value")

    def __init__(self, weight: float) -> None:
        self.value = 0.0
        self._weight = weight

    def add(self, value: float) -> None:
        """Add one value."""
        self.value += (value - self.value) * self._weight if self.value else value


class SlotGroup(Generic[T]):
    """Slots, the number of taken ones, and the runs that wait for one.

    held: runs that wait or run or are not settled yet; settling: those of them whose settlement is being sent.
    isolated: each run has a child process. stuck: slots of threads that still run although their runs have ended.
    run_time: average seconds of a run.
    """

    __slots__ = ("held", "isolated", "run_time", "settling", "slots", "stuck", "taken", "waiting")

    def __init__(self, slots: int, *, isolated: bool = False) -> None:
        self.slots = slots
        self.isolated = isolated
        self.taken = 0
        self.held = 0
        self.settling = 0
        self.stuck = 0
        self.waiting: deque[T] = deque()
        self.run_time = Average(0.05)

    def ahead(self, trip: float) -> int:
        """Return how many jobs to hold beyond the slots. trip: average seconds of a round trip to the store."""
        return claim_ahead(self.slots, run=self.run_time.value, trip=trip)

    def room(self, trip: float) -> int:
        """Return how many more jobs to claim for this group."""
        return max(0, self.slots + self.ahead(trip) + self.settling - self.held - self.stuck)
