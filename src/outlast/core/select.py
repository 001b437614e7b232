"""Selects the jobs to hand out. The memory broker runs this; every other store must give the same ids in this order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, Generic, Literal, TypeVar

from msgspec import Struct
from msgspec import field as struct_field

from outlast.core.limits import nanos
from outlast.core.topology import Queue

__all__ = ["RECHECK", "KeyState", "QueueState", "RoundRobin", "Ticket", "select", "wanted"]

T = TypeVar("T")

RECHECK: Final = 10 * 10**9
"""Nanoseconds after which a key without a free slot is checked again, even if no slot was reported free."""


class Ticket(Struct, frozen=True, order=True, gc=False):
    """Orders a due job among those of its key: lower `rank` first (milliseconds), then the order of acceptance."""

    rank: int
    order: int
    id: str


class KeyState(Struct, Generic[T], eq=False):
    """One key of a queue: its due jobs in order, and what counts against its limits.

    A key is in the queue's ring at `turn`; or parked until `wake` (nanoseconds of wall time) or until one of its jobs
    ends; or, without a due job, neither.
    """

    key: str
    ready: list[T] = struct_field(default_factory=list)
    running: int = 0
    tat: int = 0
    given: int = 0
    """Jobs selected in its present turn."""
    turn: int = 0
    where: Literal["out", "ring", "slot", "rate"] = "out"
    """In the ring; or parked, because no slot is free or its rate is used up; or neither."""
    wake: int = 0

    @property
    def parked(self) -> bool:
        """Whether limits keep it out of the ring."""
        return self.where in ("slot", "rate")


K = TypeVar("K", bound=KeyState[Any])


@dataclass(slots=True, eq=False)
class RoundRobin(ABC, Generic[T, K]):
    """The rules that select the jobs of one queue: turns, weights, limits, parking. T: a job; K: the state of a key.

    A subclass holds the ring of keys; this class decides which key gives a job, and where the key goes then.
    """

    queue: Queue
    ready: list[T] = field(default_factory=list)
    """Due jobs without a key, sorted: together they are one more key, with a weight of 1 and no limit of its own."""
    running: int = 0
    tat: int = 0
    back: int = 0
    """The turn of the last key in the ring."""
    turn: int = 0
    """The turn of the keyless jobs, while there are any."""

    @abstractmethod
    def _first(self) -> K | None:
        """Return the first key of the ring, with its next two jobs in `ready` if it has as many."""

    @abstractmethod
    def _pop(self) -> None:
        """Remove the first key from the ring."""

    @abstractmethod
    def _push(self, state: K) -> None:
        """Add a key at the back of the ring."""

    @abstractmethod
    def _wake_at(self, state: K) -> None:
        """Record when a parked key is to be checked again."""

    @abstractmethod
    def wake(self, now: int) -> None:
        """Add the parked keys that are due at `now` to the back of the ring."""

    def room(self, now: int) -> int | None:
        """Return how many jobs the queue's own limits let begin at `now` (nanoseconds); None: any number."""
        rooms = []
        if self.queue.concurrency is not None:
            rooms.append(max(0, self.queue.concurrency - self.running))
        if (gcra := self.queue.gcra) is not None:
            rooms.append(gcra.room(self.tat, now))
        return min(rooms) if rooms else None

    def picks(self, now: int) -> Generator[T, None, None]:
        """Yield the selected jobs one by one, each removed from its key and counted.

        The first key of the ring gives `weight` jobs, lowest (rank, order) first, and goes to the back. A key without
        room in its limits is parked; a key without due jobs leaves the ring.
        """
        own, rate, weights = self.queue.gcra, self.queue.per_key.gcra, self.queue.weights
        limited = rate is not None or self.queue.per_key.concurrency is not None
        keyless, taken = self.ready, 0
        try:
            while True:
                state = self._first()
                if taken < len(keyless) and (state is None or self.turn < state.turn):
                    job = keyless[taken]
                    taken += 1
                    self.back += 1
                    self.turn = self.back
                elif state is None:
                    return
                elif not state.ready:
                    self._leave(state)
                    continue
                elif limited and self._parked(state, now):
                    continue
                else:
                    job = state.ready.pop(0)
                    state.running += 1
                    state.given += 1
                    if rate is not None:
                        state.tat = rate.taken(state.tat, now, 1)
                    if not state.ready:
                        self._leave(state)
                    elif limited and self._parked(state, now):
                        pass
                    elif state.given >= (weights.get(state.key, 1) if weights else 1):
                        self._pop()
                        self._join(state)
                self.running += 1
                if own is not None:
                    self.tat = own.taken(self.tat, now, 1)
                yield job
        finally:
            del keyless[:taken]

    def _join(self, state: K) -> None:
        self.back += 1
        state.where, state.turn, state.given = "ring", self.back, 0
        self._push(state)

    def _leave(self, state: K) -> None:
        """Remove the first key, which has no due job, from the ring."""
        self._pop()
        state.where, state.given = "out", 0

    def _parked(self, state: K, now: int) -> bool:
        """Park the first key when its limits leave no room: it waits for a slot, or else for its rate."""
        each = self.queue.per_key
        if each.concurrency is not None and state.running >= each.concurrency:
            state.where, state.wake = "slot", now + RECHECK
        elif each.gcra is not None and each.gcra.room(state.tat, now) < 1:
            state.where, state.wake = "rate", each.gcra.next_at(state.tat, now)
        else:
            return False
        state.given = 0
        self._pop()
        self._wake_at(state)
        return True


@dataclass(slots=True, eq=False)
class QueueState(RoundRobin[Ticket, KeyState[Ticket]]):
    """All state of one queue in memory: its keyless jobs, its keys in a ring, and its limits."""

    keys: dict[str, KeyState[Ticket]] = field(default_factory=dict)
    _ring: list[tuple[int, str]] = field(default_factory=list)
    """Heap of (turn, key); outdated entries are skipped."""
    _parking: list[tuple[int, int, str]] = field(default_factory=list)
    """Heap of (wake, turn, key); outdated entries are skipped."""

    def add(self, ticket: Ticket, key: str | None) -> None:
        """Add a due job; a key that is neither in the ring nor parked joins at the back."""
        if key is None:
            insort(self.ready, ticket)
            return
        state = self.key_state(key)
        insort(state.ready, ticket)
        if state.where == "out":
            self._join(state)

    def key_state(self, key: str) -> KeyState[Ticket]:
        """Return the state of a key, created when it is new."""
        return self.keys.get(key) or self.keys.setdefault(key, KeyState(key))

    def begin(self, key: str | None) -> None:
        """Count a running job that was not selected here: its holder renewed its lease in time."""
        self.running += 1
        if key is not None:
            self.key_state(key).running += 1

    def end(self, key: str | None) -> None:
        """Count that a job stopped running; call `freed` next."""
        self.running -= 1
        if key is not None:
            self.keys[key].running -= 1

    def freed(self, key: str | None) -> None:
        """Add a key that waited for a slot to the back of the ring; forget a key without jobs and without a rate."""
        state = None if key is None else self.keys.get(key)
        if state is not None and state.where == "slot":
            self._join(state)
        elif state is not None and state.where == "out" and not state.running and self.queue.per_key.rate is None:
            del self.keys[state.key]

    def remove(self, ticket: Ticket, key: str | None) -> None:
        """Remove a due job; its key stays in the ring until its turn, even without jobs."""
        ready = self.ready if key is None else self.keys[key].ready
        del ready[bisect_left(ready, ticket)]

    def heads(self) -> Iterator[Ticket]:
        """Yield the first of the keyless jobs and the first job of each key."""
        for ready in (self.ready, *(state.ready for state in self.keys.values())):
            if ready:
                yield ready[0]

    def tidy(self, now: int) -> None:
        """Forget the keys that have no job and no rate to remember."""
        for state in [each for each in self.keys.values() if each.where == "out" and not each.running]:
            if state.tat <= now:
                del self.keys[state.key]

    def forget(self, key: str) -> None:
        """Forget a purged key with its turn and its rate, unless it has jobs."""
        state = self.keys.get(key)
        if state is not None and not state.ready and not state.running:
            del self.keys[key]

    def may_begin(self, key: str | None) -> bool:
        """Return whether concurrency leaves a slot for a job of this key; rates do not count."""
        each = self.queue.per_key.concurrency
        return (self.queue.concurrency is None or self.running < self.queue.concurrency) and (
            key is None or each is None or self.key_state(key).running < each
        )

    def change(self, queue: Queue) -> None:
        """Replace the limits: every parked key joins the ring, in the order of their turns."""
        if queue == self.queue:
            return
        self.queue = queue
        if queue.per_key.rate is None:
            for state in self.keys.values():
                state.tat = 0
        for state in sorted((each for each in self.keys.values() if each.parked), key=lambda each: each.turn):
            self._join(state)

    def held(self, now: int) -> Literal["", "concurrency", "rate"]:
        """Return which of the queue's own limits lets no job begin now."""
        if self.queue.concurrency is not None and self.running >= self.queue.concurrency:
            return "concurrency"
        gcra = self.queue.gcra
        return "rate" if gcra is not None and gcra.room(self.tat, now) < 1 else ""

    def next_look(self, now: int) -> int | None:
        """Return when (nanoseconds) time alone may let a held-back job begin; None: no such time."""
        held = self.held(now)
        if held == "concurrency":
            return None
        wakes = [state.wake for state in self.keys.values() if state.parked]
        if held == "rate" and self.queue.gcra is not None:
            waiting = self.ready or wakes or any(state.where == "ring" for state in self.keys.values())
            return self.queue.gcra.next_at(self.tat, now) if waiting else None
        return min(wakes, default=None)

    def wake(self, now: int) -> None:
        """Add the parked keys that are due at `now` to the back of the ring."""
        while self._parking and self._parking[0][0] <= now:
            wake, turn, key = heappop(self._parking)
            state = self.keys.get(key)
            if state is not None and state.parked and (state.wake, state.turn) == (wake, turn):
                self._join(state)

    def _first(self) -> KeyState[Ticket] | None:
        while self._ring:
            turn, key = self._ring[0]
            state = self.keys.get(key)
            if state is not None and state.where == "ring" and state.turn == turn:
                return state
            heappop(self._ring)
        return None

    def _pop(self) -> None:
        heappop(self._ring)

    def _push(self, state: KeyState[Ticket]) -> None:
        heappush(self._ring, (state.turn, state.key))

    def _wake_at(self, state: KeyState[Ticket]) -> None:
        heappush(self._parking, (state.wake, state.turn, state.key))


def wanted(demand: Mapping[str, int]) -> list[str]:
    """Return the queues that a claim takes jobs from, by name: those with demand 0 are only attended."""
    return sorted(name for name, most in demand.items() if most > 0)


def select(
    queues: Mapping[str, RoundRobin[T, Any]], last: str, n: int, demand: Mapping[str, int], now: float
) -> tuple[list[T], str]:
    """Select at most `n` jobs, at most `demand[q]` of queue q; return them and the queue of the last one.

    Selected jobs are removed from their queue, and turns, rates and running jobs are counted there. Queues give one
    job each in turn, by name, beginning behind `last`, the queue that gave the last job of the call before; a queue
    without room in its own limits is skipped. Within a queue see `RoundRobin.picks`. now: wall time, seconds. Costs
    O(q log q + n log k) for q queues and k keys, and one step for each key that is parked or found empty, however many
    jobs wait.
    """
    at = nanos(now)
    serving: list[tuple[str, Generator[T, None, None], int]] = []
    for name in wanted(demand):
        if name in queues:
            room = queues[name].room(at)
            most = demand[name] if room is None else min(demand[name], room)
            if most > 0:
                queues[name].wake(at)
                serving.append((name, queues[name].picks(at), most))
    start = sum(name <= last for name, _, _ in serving)
    ring = serving[start:] + serving[:start]
    picked: list[T] = []
    turn = 0
    try:
        while ring and len(picked) < n:
            turn += 1
            remaining = []
            for each in ring:
                name, picks, most = each
                if len(picked) == n:
                    break
                if (job := next(picks, None)) is not None:
                    picked.append(job)
                    last = name
                    if turn < most:
                        remaining.append(each)
            ring = remaining
    finally:
        for _, picks, _ in serving:
            picks.close()
    return picked, last
