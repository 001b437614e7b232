"""The slots of one way to run (on the loop, in a thread, in a process, alone), and how many jobs to hold for them."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

__all__ = ["AHEAD", "Average", "SlotGroup", "claim_ahead"]

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


class SlotGroup(Generic[T]):
    """Slots, how many are taken, and what waits for one. `held` counts both, and runs not settled yet; `settling` those
    of them that are on their way to the store.

    isolated: its runs have a child process each. stuck: slots taken by runs that have ended all the same (a thread that
    did not return in time). run_time: average seconds of a run.
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
        """Return how many jobs to hold beyond the slots. trip: average seconds to the store."""
        return claim_ahead(self.slots, run=self.run_time.value, trip=trip)

    def room(self, trip: float) -> int:
        """Return how many more jobs to claim for this group."""
        return max(0, self.slots + self.ahead(trip) + self.settling - self.held - self.stuck)
