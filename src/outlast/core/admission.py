"""Decide whether a bounded queue accepts one more job, and which ready jobs it sheds for it; all stores use this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from msgspec import Struct

from outlast.core.forecast import Pace, begins_in
from outlast.core.limits import NO_LIMIT, Limit
from outlast.core.policy import Priority
from outlast.core.settlement import Full, FullBound, TooLarge
from outlast.core.topology import Queue

__all__ = [
    "LINES",
    "WINDOW",
    "WaitingJobs",
    "Newcomer",
    "Used",
    "Waiter",
    "ahead_of_key",
    "is_bounded",
    "make_room",
    "refusal",
    "too_late",
    "urgency",
]

WINDOW: Final = 100
"""The first ready jobs of a key that are examined, and the most of them that are shed for one new job."""
UNKNOWN_WAIT: Final = 60.0
"""Seconds after which a client may come back to a full queue of unknown speed."""
LONGEST_WAIT: Final = 3600.0
"""The most seconds for which a client is sent away."""
LINES: Final = 16
"""The most other keys that are examined to find the one with the most ready jobs."""
_URGENCY: Final[dict[Priority, int]] = {"high": 0, "normal": 1, "low": 2}


def urgency(priority: Priority) -> int:
    """Return the priority as a number, 0 for the most urgent."""
    return _URGENCY[priority]


class Newcomer(Struct, frozen=True, gc=False):
    """A new job. size: bytes of its arguments; urgency: 0 is the most urgent; keyed: it has a key."""

    size: int
    urgency: int
    keyed: bool


class Waiter(Struct, frozen=True, gc=False):
    """A ready job. since: when it became due, wall time in seconds. row: the store's own number of the job."""

    id: str
    urgency: int
    since: float
    size: int
    row: int = 0


class Used(Struct, frozen=True, gc=False):
    """The number of unfinished jobs, and the bytes of their arguments (0 where no bound needs them)."""

    depth: int
    size: int


class WaitingJobs(Protocol):
    """The unfinished and ready jobs of a queue as one new job finds them; read only as far as a bound needs them."""

    def used(self) -> Used:
        """Count the unfinished jobs of the queue."""
        ...

    def used_by_key(self) -> Used:
        """Count the unfinished jobs of the new job's key, no further than the bounds of a key."""
        ...

    def own(self, most: int) -> Sequence[Waiter]:
        """Return the first `most` ready jobs of the new job's key, or of those without a key, by rank and order."""
        ...

    def other(self) -> Sequence[Waiter]:
        """Return the first WINDOW ready jobs of the other key that has the most; none if no other key has any.

        Examined are the first LINES keys that limits hold back, in the order of their next check, then the first LINES
        keys of the ring. A key's jobs are counted up to WINDOW; of equal keys the first is taken.
        """
        ...


def is_bounded(queue: Queue) -> bool:
    """Tell whether the queue has a bound that a new job may reach."""
    return _bounds(queue) or _bounds(queue.per_key)


def _bounds(of: Queue | Limit) -> bool:
    return of.max_depth is not None or of.max_bytes is not None or of.max_age is not None


def make_room(
    queue: Queue, newcomer: Newcomer, now: float, waiting: WaitingJobs
) -> list[Waiter] | FullBound | TooLarge:
    """Return the jobs to shed for the new job (none if there is room), or the bound that refuses the new job.

    Bounds are checked in this order: max_age (the lower of the key's and the queue's), then depth and bytes of the key,
    then those of the queue. With on_full="shed", jobs are shed one by one, each choice made as if the previous ones
    were gone. A job that is more urgent than the new one is never shed: the new job is then refused, and none is shed.

    For age: the first ready job of the new job's key, while it has waited too long. For depth and bytes: of the first
    WINDOW ready jobs of the same key the least urgent one, of equals the first. When the key has no ready job left and
    the bound is the queue's: likewise from `WaitingJobs.other`. Running and scheduled jobs are never shed.
    """
    each = queue.per_key if newcomer.keyed else NO_LIMIT
    if queue.max_bytes is not None and newcomer.size > queue.max_bytes:
        return TooLarge(newcomer.size, queue.max_bytes, "max_bytes")
    if each.max_bytes is not None and newcomer.size > each.max_bytes:
        return TooLarge(newcomer.size, each.max_bytes, "per_key.max_bytes")
    admission = _Admission(queue.on_full == "shed", newcomer, waiting)
    if not admission.young(queue, each, now):
        return "max_age" if _tighter(queue, each) else "per_key.max_age"
    if each.max_depth is not None or each.max_bytes is not None:
        bound = admission.room(waiting.used_by_key(), each.max_depth, each.max_bytes, other_keys=False)
        if bound is not None:
            return "per_key.max_depth" if bound == "max_depth" else "per_key.max_bytes"
    if queue.max_depth is not None or queue.max_bytes is not None:
        bound = admission.room(waiting.used(), queue.max_depth, queue.max_bytes, other_keys=True)
        if bound is not None:
            return bound
    return admission.shed


def _tighter(queue: Queue, each: Limit) -> bool:
    """Tell whether the max_age of the queue applies to a key, and not the key's own."""
    return each.max_age is None or (queue.max_age is not None and queue.max_age < each.max_age)


@dataclass(slots=True)
class _Admission:
    """Make room for one new job. left: the jobs to shed next, the last one first; None until they are read."""

    sheds: bool
    newcomer: Newcomer
    waiting: WaitingJobs
    shed: list[Waiter] = field(default_factory=list)
    own: Sequence[Waiter] | None = None
    other: Sequence[Waiter] | None = None
    left: list[Waiter] | None = None

    def young(self, queue: Queue, each: Limit, now: float) -> bool:
        """Shed the first ready job while it has waited too long; return False if it may not be shed."""
        most = queue.max_age if _tighter(queue, each) else each.max_age
        if most is None:
            return True
        first = self.waiting.own(1)
        if not first or now - first[0].since <= most:
            return True
        if not self._may_shed(first[0]):
            return False
        self.own = self.waiting.own(WINDOW)
        for waiter in self.own:
            if now - waiter.since <= most:
                break
            if not self._may_shed(waiter):
                return False
            self.shed.append(waiter)
        return True

    def room(
        self, used: Used, max_depth: int | None, max_bytes: int | None, *, other_keys: bool
    ) -> Literal["max_depth", "max_bytes"] | None:
        """Shed jobs until the new job fits; return the bound that still refuses it, None when it fits.

        used: as stored, with the jobs that were shed here before. other_keys: shed jobs of other keys too.
        """
        depth = used.depth - len(self.shed)
        size = used.size - sum(waiter.size for waiter in self.shed)
        while True:
            if max_depth is not None and depth + 1 > max_depth:
                bound: Literal["max_depth", "max_bytes"] = "max_depth"
            elif max_bytes is not None and size + self.newcomer.size > max_bytes:
                bound = "max_bytes"
            else:
                return None
            waiter = self._next(other_keys=other_keys) if self.sheds else None
            if waiter is None or not self._may_shed(waiter):
                return bound
            self.shed.append(waiter)
            depth -= 1
            size -= waiter.size

    def _may_shed(self, waiter: Waiter) -> bool:
        return self.sheds and waiter.urgency >= self.newcomer.urgency

    def _next(self, *, other_keys: bool) -> Waiter | None:
        if self.own is None:
            self.own = self.waiting.own(WINDOW)
        if self.left is None:
            self.left = _by_urgency(self.own[len(self.shed) :])
        if not self.left and other_keys and self.other is None:
            self.other = self.waiting.other() if len(self.own) < WINDOW else ()
            self.left = _by_urgency(self.other)
        return self.left.pop() if self.left else None


def _by_urgency(waiters: Sequence[Waiter]) -> list[Waiter]:
    """Return the most urgent first, and of equals the last ready one first: jobs are taken from the end of the list."""
    ordered = list(waiters)
    ordered.reverse()
    ordered.sort(key=_urgency_of)
    return ordered


def _urgency_of(waiter: Waiter) -> int:
    return waiter.urgency


def too_late(pace: Pace, ready: int, running: int, max_wait: float) -> Full | None:
    """Return the answer for a job that would not begin within `max_wait` seconds, behind `ready` jobs; None if it may.

    A job of which that is unknown is accepted.
    """
    begin = begins_in(pace, ready, running)
    if begin is None or begin <= max_wait:
        return None
    assert pace.ends is not None
    after = max(1.0, begin - max_wait, 0.1 * max_wait)
    return Full(min(LONGEST_WAIT, after), "max_wait", min(LONGEST_WAIT, 1 / pace.ends))


def ahead_of_key(ready: int, own: int, lines: int) -> int:
    """Return how many ready jobs begin before a job of a key. own: ready jobs of the key; lines: keys that take turns.

    In a turn each line gives one job, so the backlog of another key delays it no more than its own does.
    """
    return min(ready, (own + 1) * lines)


def refusal(bound: FullBound, queue: Queue, depth: int, ends: float) -> Full:
    """Return the answer of a full queue. depth: its unfinished jobs; ends: jobs that end in a second.

    A client may come back when a tenth of the queue has drained: so many jobs that those who come a little early, or
    from other processes, find room too. The tenth is of max_depth where that is the bound, else of `depth`; for
    per_key.max_depth it is at least the time in which one job of the key ends, if the keys take turns.
    """
    if ends <= 1e-6:
        return Full(UNKNOWN_WAIT, bound)
    jobs = queue.max_depth if bound == "max_depth" and queue.max_depth is not None else depth
    of_key = queue.per_key.max_depth if bound == "per_key.max_depth" else None
    share = 0.1 if of_key is None else max(0.1, 1 / of_key)
    every = 1 / ends if of_key is None else depth / of_key / ends
    return Full(min(LONGEST_WAIT, max(1.0, max(1.0, jobs * share) / ends)), bound, min(LONGEST_WAIT, every))
