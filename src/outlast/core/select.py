"""Who runs next. The memory broker runs this; every other store must give out the same ids in the same order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, Literal

from msgspec import Struct

from outlast.core.limits import nanos
from outlast.core.topology import Queue

__all__ = ["RECHECK", "KeyState", "QueueState", "Ticket", "select"]

RECHECK: Final = 10 * 10**9
"""Nanoseconds after which a key without a free slot is looked at again, whether it was told of one or not."""


class Ticket(Struct, frozen=True, order=True, gc=False):
    """A due job's place among those of its key: lower `rank` first (milliseconds), then the order of acceptance."""

    rank: int
    order: int
    id: str


@dataclass(slots=True, eq=False)
class KeyState:
    """One key of a queue: its due jobs, and what it was given.

    A lane stands in the queue's ring at `turn`, or is parked until `wake` (nanoseconds of wall time) or until one of
    its jobs ends, or has nothing to give and is in neither.
    """

    key: str
    ready: list[Ticket] = field(default_factory=list)
    running: int = 0
    tat: int = 0
    given: int = 0
    """Jobs of its present turn that were given already."""
    turn: int = 0
    where: Literal["out", "ring", "slot", "rate"] = "out"
    """In the ring, or parked: no free slot, or its rate is used up."""
    wake: int = 0


@dataclass(slots=True, eq=False)
class QueueState:
    """One queue: its keyless jobs, its keys in a ring, and its limits."""

    queue: Queue
    ready: list[Ticket] = field(default_factory=list)
    """Due jobs without a key, sorted: together they are one more key, with a weight of 1 and no limit of its own."""
    lanes: dict[str, KeyState] = field(default_factory=dict)
    running: int = 0
    tat: int = 0
    back: int = 0
    """The turn of the ring's last."""
    turn: int = 0
    """Where the keyless jobs stand in the ring, while there are any."""
    _ring: list[tuple[int, str]] = field(default_factory=list)
    _parked: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, place: Ticket, key: str | None) -> None:
        """Let a due job stand in line; a key that has nothing in the ring, and is not parked, joins at its back."""
        if key is None:
            insort(self.ready, place)
            return
        lane = self.lane(key)
        insort(lane.ready, place)
        if lane.where == "out":
            self._join(lane)

    def lane(self, key: str) -> KeyState:
        """Return a key's lane, made when it is new."""
        return self.lanes.get(key) or self.lanes.setdefault(key, KeyState(key))

    def begin(self, key: str | None) -> None:
        """Count a job that runs without having been picked: its holder came back in time."""
        self.running += 1
        if key is not None:
            self.lane(key).running += 1

    def end(self, key: str | None) -> None:
        """Count a job that runs no more; `freed` is to follow."""
        self.running -= 1
        if key is not None:
            self.lanes[key].running -= 1

    def freed(self, key: str | None) -> None:
        """Let a key that waited for a slot join the ring at its back; forget one that has nothing here any more."""
        lane = None if key is None else self.lanes.get(key)
        if lane is not None and lane.where == "slot":
            self._join(lane)
        elif lane is not None and lane.where == "out" and not lane.running and self.queue.per_key.rate is None:
            del self.lanes[lane.key]

    def remove(self, place: Ticket, key: str | None) -> None:
        """Take a due job out of its line; a key keeps its turn until then, whether it has more jobs or not."""
        ready = self.ready if key is None else self.lanes[key].ready
        del ready[bisect_left(ready, place)]

    def heads(self) -> Iterator[Ticket]:
        """Give the first place of the keyless jobs and of each key."""
        for ready in (self.ready, *(lane.ready for lane in self.lanes.values())):
            if ready:
                yield ready[0]

    def tidy(self, now: int) -> None:
        """Forget the keys that have nothing here and no rate to remember."""
        for lane in [each for each in self.lanes.values() if each.where == "out" and not each.running]:
            if lane.tat <= now:
                del self.lanes[lane.key]

    def forget(self, key: str) -> None:
        """Forget a key of which everything was purged, with its place and its rate; one that has jobs here stays."""
        lane = self.lanes.get(key)
        if lane is not None and not lane.ready and not lane.running:
            del self.lanes[key]

    def may_begin(self, key: str | None) -> bool:
        """Tell whether concurrency leaves a slot for a job of this key; rates are not asked."""
        each = self.queue.per_key.concurrency
        return (self.queue.concurrency is None or self.running < self.queue.concurrency) and (
            key is None or each is None or self.lane(key).running < each
        )

    def change(self, queue: Queue) -> None:
        """Take over other limits: every parked key gets a new look, in the order of their turns."""
        if queue == self.queue:
            return
        self.queue = queue
        if queue.per_key.rate is None:
            for lane in self.lanes.values():
                lane.tat = 0
        for lane in sorted((each for each in self.lanes.values() if each.where in ("slot", "rate")), key=_turn):
            self._join(lane)

    def room(self, now: int) -> int | None:
        """Return how many jobs the queue's own limits let begin at `now` (nanoseconds); None: any number."""
        rooms = []
        if self.queue.concurrency is not None:
            rooms.append(max(0, self.queue.concurrency - self.running))
        if (gcra := self.queue.gcra) is not None:
            rooms.append(gcra.room(self.tat, now))
        return min(rooms) if rooms else None

    def held(self, now: int) -> Literal["", "concurrency", "rate"]:
        """Tell which of the queue's own limits lets nothing begin now."""
        if self.queue.concurrency is not None and self.running >= self.queue.concurrency:
            return "concurrency"
        gcra = self.queue.gcra
        return "rate" if gcra is not None and gcra.room(self.tat, now) < 1 else ""

    def picks(self, now: int) -> Iterator[Ticket]:
        """Give one place after the other, each taken out of its line and counted, as long as there is one.

        Whoever stands first in the ring gives `weight` jobs, lowest (rank, order) first, and goes to its back. One that
        its limits keep from giving is parked; one that is found empty leaves.
        """
        gcra = self.queue.gcra
        taken = 0
        try:
            while True:
                lane = self._first(taken)
                if lane is None and taken == len(self.ready):
                    return
                if lane is None:
                    place = self.ready[taken]
                    taken += 1
                    self.turn = self._step()
                elif not lane.ready:
                    self._leave(lane)
                    continue
                elif not self._room(lane, now):
                    self._park(lane, now)
                    continue
                else:
                    place = self._give(lane, now)
                self.running += 1
                if gcra is not None:
                    self.tat = gcra.taken(self.tat, now, 1)
                yield place
        finally:
            del self.ready[:taken]

    def next_look(self, now: int) -> int | None:
        """Return when (nanoseconds) something that limits hold back may go on by itself; None: nothing does."""
        if self.queue.concurrency is not None and self.running >= self.queue.concurrency:
            return None
        wakes = [lane.wake for lane in self.lanes.values() if lane.where in ("slot", "rate")]
        gcra = self.queue.gcra
        if gcra is not None and gcra.room(self.tat, now) < 1:
            if self.ready or wakes or any(lane.where == "ring" for lane in self.lanes.values()):
                return gcra.next_at(self.tat, now)
            return None
        return min(wakes) if wakes else None

    def _first(self, taken: int) -> KeyState | None:
        """Return the lane whose turn it is; None when it is the keyless jobs', or nobody's."""
        ring = self._ring
        while ring and not self._stands(*ring[0]):
            heappop(ring)
        if not ring or (taken < len(self.ready) and self.turn < ring[0][0]):
            return None
        return self.lanes[ring[0][1]]

    def _stands(self, turn: int, key: str) -> bool:
        lane = self.lanes.get(key)
        return lane is not None and lane.where == "ring" and lane.turn == turn

    def _step(self) -> int:
        self.back += 1
        return self.back

    def _join(self, lane: KeyState) -> None:
        lane.where, lane.turn, lane.given = "ring", self._step(), 0
        heappush(self._ring, (lane.turn, lane.key))

    def _leave(self, lane: KeyState) -> None:
        lane.where, lane.given = "out", 0

    def _room(self, lane: KeyState, now: int) -> bool:
        """Tell whether the limits of each key let one more of this one begin."""
        each = self.queue.per_key
        if each.concurrency is not None and lane.running >= each.concurrency:
            return False
        return each.gcra is None or each.gcra.room(lane.tat, now) > 0

    def _park(self, lane: KeyState, now: int) -> None:
        """Let the lane wait for a slot; when it has one, for its rate."""
        each = self.queue.per_key
        lane.given = 0
        if each.concurrency is not None and lane.running >= each.concurrency:
            lane.where, lane.wake = "slot", now + RECHECK
        else:
            assert each.gcra is not None
            lane.where, lane.wake = "rate", each.gcra.next_at(lane.tat, now)
        heappush(self._parked, (lane.wake, lane.turn, lane.key))

    def wake(self, now: int) -> None:
        """Let the keys whose time has come join the ring, at its back."""
        while self._parked and self._parked[0][0] <= now:
            wake, turn, key = heappop(self._parked)
            lane = self.lanes.get(key)
            if lane is not None and lane.where in ("slot", "rate") and (lane.wake, lane.turn) == (wake, turn):
                self._join(lane)

    def _give(self, lane: KeyState, now: int) -> Ticket:
        gcra = self.queue.per_key.gcra
        place = lane.ready.pop(0)
        lane.running += 1
        lane.given += 1
        if gcra is not None:
            lane.tat = gcra.taken(lane.tat, now, 1)
        if not lane.ready:
            self._leave(lane)
        elif not self._room(lane, now):
            self._park(lane, now)
        elif lane.given >= self.queue.weights.get(lane.key, 1):
            self._join(lane)
        return place


def _turn(lane: KeyState) -> int:
    return lane.turn


def select(
    lines: Mapping[str, QueueState], last: str, n: int, demand: Mapping[str, int], now: float
) -> tuple[list[Ticket], str]:
    """Pick at most `n` places, at most `demand[q]` of queue q; return them and the queue that gave the last of them.

    What is picked leaves its line, and turns, rates and running jobs are counted in it. Queues give one job each in
    turn, by name, beginning behind `last`, the one that gave the last job of the call before; one that its limits leave
    no room is not looked at. Within a queue see `QueueState.picks`. now: wall time, seconds. Costs O(q log q + n log k)
    for q queues and k keys, and once for each key that is parked or found empty, however many jobs wait.
    """
    at = nanos(now)
    ring: Sequence[tuple[str, Iterator[Ticket], int]] = []
    for name in sorted(demand):
        if name in lines:
            room = lines[name].room(at)
            most = demand[name] if room is None else min(demand[name], room)
            if most > 0:
                lines[name].wake(at)
                ring = [*ring, (name, lines[name].picks(at), most)]
    start = sum(name <= last for name, _, _ in ring)
    ring = [*ring[start:], *ring[:start]]
    serving = list(ring)
    picked: list[Ticket] = []
    turn = 0
    try:
        while ring and len(picked) < n:
            going = []
            for each in ring:
                name, picks, most = each
                if len(picked) == n:
                    break
                if (place := next(picks, None)) is not None:
                    picked.append(place)
                    last = name
                    if turn + 1 < most:
                        going.append(each)
            turn += 1
            ring = going
    finally:
        for _, picks, _ in serving:
            picks.close()  # type: ignore[attr-defined]
    return picked, last
