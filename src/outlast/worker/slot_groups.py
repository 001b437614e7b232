"""The slots of each way to run (async, thread, process, alone), who gets one next, and how many jobs to claim."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from outlast.core.registry import Mode

__all__ = ["AHEAD", "Average", "SlotGroup", "SlotGroups", "claim_ahead"]

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


class SlotGroups(Generic[T]):
    """The four lanes under one bound: `most` runs at a time in all. `taken` counts them; `settling` as in a lane.

    start: begins what waited for a slot. It takes the slot itself, and may give it back before it returns.
    """

    def __init__(self, *, most: int, threads: int, processes: int, start: Callable[[T], None]) -> None:
        self.most = most
        self.taken = 0
        self.settling = 0
        self.loop: SlotGroup[T] = SlotGroup(most)
        self.thread: SlotGroup[T] = SlotGroup(threads)
        self.process: SlotGroup[T] = SlotGroup(processes)
        self.solo: SlotGroup[T] = SlotGroup(threads)  # forks, which wait for others more than they use the processor
        self.all = (self.loop, self.thread, self.process, self.solo)
        self.of_mode: Mapping[Mode, SlotGroup[T]] = {
            "async": self.loop,
            "thread": self.thread,
            "process": self.process,
        }
        self._start = start
        self._pumping = False

    def demand(
        self, queues: Iterable[str], fed: Iterable[tuple[str, SlotGroup[T]]], *, held: int, trip: float
    ) -> tuple[dict[str, int], int]:
        """Return how many jobs of each queue there is room for, and how many in all.

        fed: which queue feeds which lane. held: jobs that are here already. trip: seconds to the store. A queue whose
        kinds run in several ways gets the room of the narrowest, so that no job waits here for a slot.
        """
        chosen = (self.loop, self.thread, self.process)  # nobody can claim for the fourth
        ahead = sum(claim_ahead(lane.slots, run=lane.run.value, trip=trip) for lane in chosen)
        most = self.most + min(ahead, AHEAD * self.most)
        limit = most + self.settling - held - self.thread.stuck
        if ahead:
            # Two batches of like size: one runs while the store takes and gives the other.
            limit = min(limit, (most + 1) // 2)
        if limit <= 0:
            return {}, 0
        rooms: dict[str, int] = {}
        for queue, lane in fed:
            rooms[queue] = min(rooms.get(queue, limit), lane.room(trip))
        demand = {queue: rooms.get(queue, limit) for queue in queues}
        return {queue: n for queue, n in demand.items() if n > 0}, limit

    def unended(self) -> int:
        """Return how many are in line for a slot, or run and were not given up."""
        return self.taken - self.thread.stuck + sum(len(lane.waiting) for lane in self.all)

    def next(self, lane: SlotGroup[T]) -> None:
        """Start what waits, when a slot of `lane` has come free."""
        if lane.waiting:
            self.pump(lane)
        if self.taken + 1 >= self.most:  # the process was full: other lanes may have waited for this slot
            self.pump(*self.all)

    def pump(self, *lanes: SlotGroup[T]) -> None:
        """Start what waits and has a slot."""
        for lane in lanes:
            if self._pumping:
                return  # an eager run has ended inside `start`: the loop below goes on, without growing the stack
            self._pumping = True
            try:
                while lane.waiting and lane.taken < lane.slots and self.taken < self.most:
                    self._start(lane.waiting.popleft())
            finally:
                self._pumping = False

    def give_up(self, overdue: Callable[[T], bool]) -> Iterator[T]:
        """Take out of line what has waited too long, oldest first."""
        for lane in self.all:
            while lane.waiting and overdue(lane.waiting[0]):
                yield lane.waiting.popleft()
