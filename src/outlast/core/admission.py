"""Whether a bounded queue takes one more job, and which waiting ones make room for it: every store runs this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from msgspec import Struct

from outlast.core.limits import NO_LIMIT, Limit
from outlast.core.policy import Priority
from outlast.core.settlement import FullBound, TooLarge
from outlast.core.topology import Queue

__all__ = [
    "LINES",
    "WINDOW",
    "WaitingJobs",
    "Newcomer",
    "Used",
    "Waiter",
    "is_bounded",
    "make_room",
    "retry_after",
    "urgency",
]

WINDOW: Final = 100
"""Jobs at the front of a line that are looked at, and the most of a line that are shed for one newcomer."""
LINES: Final = 16
"""Lines of other keys that are looked at for the longest one."""
_URGENCY: Final[dict[Priority, int]] = {"high": 0, "normal": 1, "low": 2}


def urgency(priority: Priority) -> int:
    """Return 0 for the most urgent."""
    return _URGENCY[priority]


class Newcomer(Struct, frozen=True, gc=False):
    """A job that wants in. size: bytes of its arguments; urgency: 0 the most urgent; keyed: it has a key."""

    size: int
    urgency: int
    keyed: bool


class Waiter(Struct, frozen=True, gc=False):
    """A job that stands in a line, so it is due and does not run. since: when it became due, wall time in seconds.

    row: the store's own address of it.
    """

    id: str
    urgency: int
    since: float
    size: int
    row: int = 0


class Used(Struct, frozen=True, gc=False):
    """Unfinished jobs, and the bytes of their arguments (0 where no bound asks for them)."""

    depth: int
    size: int


class WaitingJobs(Protocol):
    """What a store tells about those whom the newcomer would stand among; asked only for what a bound needs."""

    def used(self) -> Used:
        """Return what the queue holds."""
        ...

    def used_by_key(self) -> Used:
        """Return what the newcomer's key holds in the queue, counted no further than its bounds."""
        ...

    def own(self, most: int) -> Sequence[Waiter]:
        """Return the first `most` of the newcomer's line (its key's, or the one without a key), by rank and order."""
        ...

    def other(self) -> Sequence[Waiter]:
        """Return the first WINDOW of the longest line of another key, none if there is none.

        Looked at are the first LINES of those that limits hold back, in the order in which they are to be looked at
        again, then the first LINES of the ring; length counts to WINDOW, and of equals the first is taken.
        """
        ...


def is_bounded(queue: Queue) -> bool:
    """Tell whether a newcomer may meet a bound of this queue."""
    return _bounds(queue) or _bounds(queue.per_key)


def _bounds(of: Queue | Limit) -> bool:
    return of.max_depth is not None or of.max_bytes is not None or of.max_age is not None


def make_room(queue: Queue, newcomer: Newcomer, now: float, line: WaitingJobs) -> list[Waiter] | FullBound | TooLarge:
    """Return whom to shed for the newcomer, nobody if there is room; else the bound that keeps it out.

    Bounds are looked at in this order: max_age (the tighter of the key's and the queue's), then depth and bytes of the
    key, then those of the queue. With on_full="shed" jobs make room one after the other, each as if those before were
    gone, and never one that is more urgent than the newcomer: then it is kept out, and nobody is shed.

    For age: the first of its line, while that one has waited too long. For depth and bytes: of the first WINDOW of its
    own line the least urgent, of these the first. Once its own line has nobody left, and the bound is the queue's, the
    same of the longest other line (`WaitingJobs.other`). What runs, or waits for its time, is never shed.
    """
    each = queue.per_key if newcomer.keyed else NO_LIMIT
    if queue.max_bytes is not None and newcomer.size > queue.max_bytes:
        return TooLarge(newcomer.size, queue.max_bytes, "max_bytes")
    if each.max_bytes is not None and newcomer.size > each.max_bytes:
        return TooLarge(newcomer.size, each.max_bytes, "per_key.max_bytes")
    making = _Admission(queue.on_full == "shed", newcomer, line)
    if not making.young(queue, each, now):
        return "max_age" if _tighter(queue, each) else "per_key.max_age"
    if each.max_depth is not None or each.max_bytes is not None:
        bound = making.room(line.used_by_key(), each.max_depth, each.max_bytes, anywhere=False)
        if bound is not None:
            return "per_key.max_depth" if bound == "max_depth" else "per_key.max_bytes"
    if queue.max_depth is not None or queue.max_bytes is not None:
        bound = making.room(line.used(), queue.max_depth, queue.max_bytes, anywhere=True)
        if bound is not None:
            return bound
    return making.shed


def _tighter(queue: Queue, each: Limit) -> bool:
    """Tell whether the queue's own max_age is the one that counts for a key."""
    return each.max_age is None or (queue.max_age is not None and queue.max_age < each.max_age)


@dataclass(slots=True)
class _Admission:
    """Makes room for one newcomer. left: whom to shed next, the last first, once it is known."""

    sheds: bool
    newcomer: Newcomer
    line: WaitingJobs
    shed: list[Waiter] = field(default_factory=list)
    own: Sequence[Waiter] | None = None
    other: Sequence[Waiter] | None = None
    left: list[Waiter] | None = None

    def young(self, queue: Queue, each: Limit, now: float) -> bool:
        """Shed the first of the line while it has waited too long; False: it has, and stays."""
        most = queue.max_age if _tighter(queue, each) else each.max_age
        if most is None:
            return True
        first = self.line.own(1)
        if not first or now - first[0].since <= most:
            return True
        if not self._may_shed(first[0]):
            return False
        self.own = self.line.own(WINDOW)
        for waiter in self.own:
            if now - waiter.since <= most:
                break
            if not self._may_shed(waiter):
                return False
            self.shed.append(waiter)
        return True

    def room(
        self, used: Used, max_depth: int | None, max_bytes: int | None, *, anywhere: bool
    ) -> Literal["max_depth", "max_bytes"] | None:
        """Shed until the newcomer fits; return the bound that it still does not fit, None when it does.

        used: without what was shed here before. anywhere: also of another line than its own.
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
            waiter = self._next(anywhere=anywhere) if self.sheds else None
            if waiter is None or not self._may_shed(waiter):
                return bound
            self.shed.append(waiter)
            depth -= 1
            size -= waiter.size

    def _may_shed(self, waiter: Waiter) -> bool:
        return self.sheds and waiter.urgency >= self.newcomer.urgency

    def _next(self, *, anywhere: bool) -> Waiter | None:
        if self.own is None:
            self.own = self.line.own(WINDOW)
        if self.left is None:
            self.left = _by_urgency(self.own[len(self.shed) :])
        if not self.left and anywhere and self.other is None:
            self.other = self.line.other() if len(self.own) < WINDOW else ()
            self.left = _by_urgency(self.other)
        return self.left.pop() if self.left else None


def _by_urgency(waiters: Sequence[Waiter]) -> list[Waiter]:
    """Return them the most urgent first, and of equals the last in line first: it is taken from the back."""
    ordered = list(waiters)
    ordered.reverse()
    ordered.sort(key=_urgency_of)
    return ordered


def _urgency_of(waiter: Waiter) -> int:
    return waiter.urgency


def retry_after(bound: FullBound, queue: Queue, depth: int, rate: float) -> float:
    """Return the seconds until a tenth of a full queue should have drained: 1 to 60, 60 if nothing drains.

    depth: its unfinished jobs; rate: jobs that end in a second, as measured. Where max_depth is the bound, a tenth of
    that is meant.
    """
    jobs = queue.max_depth if bound == "max_depth" and queue.max_depth is not None else depth
    return min(60.0, max(1.0, max(1.0, jobs / 10) / rate)) if rate > 1e-6 else 60.0
