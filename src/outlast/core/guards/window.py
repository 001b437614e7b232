"""Sliding windows over the calls to a dependency: how many of them failed, and how many were slow."""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

from msgspec import Struct

__all__ = ["MOST_CALLS", "CountWindow", "Thresholds", "TimeWindow", "CallCounts", "Window", "window_of"]

MOST_CALLS: Final = 100_000
"""The longest window by number of calls; it needs a byte for each."""
BUCKETS: Final = 10
"""The parts of a window of time. The oldest part is dropped as a whole: a window holds 9 to 10 parts."""

_FAILED: Final = 1
_SLOW: Final = 2


class CallCounts(Struct, frozen=True):
    """The calls in a window. A call may be both failed and slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0


class Thresholds(Struct, frozen=True):
    """From which share of failed or slow calls it opens; None: not judged. minimum: fewer calls prove nothing."""

    minimum: int
    failure_rate: float | None
    slow_rate: float

    def passed(self, totals: CallCounts) -> str:
        """Return why calls must stop, such as "6 of 10 calls failed", or "" if they need not."""
        if totals.calls < self.minimum:
            return ""
        if self.failure_rate is not None and totals.failures / totals.calls >= self.failure_rate:
            return f"{totals.failures} of {totals.calls} calls failed"
        if totals.slow / totals.calls >= self.slow_rate:
            return f"{totals.slow} of {totals.calls} calls were slow"
        return ""


class Window(Protocol):
    """The calls that a breaker judges. Times in seconds; a clock that stands still or goes back loses no call."""

    def add(self, now: float, failure: bool, slow: bool) -> int:
        """Add a call that ended, or became slow, at `now`. Return a mark for `failed`."""
        ...

    def failed(self, mark: int) -> None:
        """Count the call of this mark, which had not failed, as failed too; nothing if it has left the window."""
        ...

    def totals(self, now: float) -> CallCounts:
        """Return the calls in the window at `now`."""
        ...


class CountWindow:
    """The last `size` calls, however long ago they ended."""

    __slots__ = ("_ended", "_failures", "_flags", "_size", "_slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self._flags = bytearray()  # of each call in the window; call number n is at n % size
        self._ended = 0
        self._failures = 0
        self._slow = 0

    def add(self, now: float, failure: bool, slow: bool) -> int:
        """Add a call in the place of the oldest one; `now` does not matter."""
        flags = (_FAILED if failure else 0) | (_SLOW if slow else 0)
        mark = self._ended
        self._ended = mark + 1
        if mark < self._size:
            self._flags.append(flags)
        else:
            place = mark % self._size
            if oldest := self._flags[place]:
                self._failures -= oldest & _FAILED
                self._slow -= oldest >> 1
            self._flags[place] = flags
        if flags:
            self._failures += flags & _FAILED
            self._slow += flags >> 1
        return mark

    def failed(self, mark: int) -> None:
        """Count the call of this mark as failed too."""
        if mark >= self._ended - self._size:
            self._flags[mark % self._size] |= _FAILED
            self._failures += 1

    def totals(self, now: float) -> CallCounts:
        """Return the last calls; `now` does not matter."""
        return CallCounts(len(self._flags), self._failures, self._slow)


class TimeWindow:
    """The calls that ended in the last `length` seconds, in BUCKETS parts of equal length.

    Part n holds the times from n to n + 1 lengths of a part. A time before the current part counts in it.
    """

    __slots__ = ("_before", "_bucket", "_buckets", "_calls", "_ends", "_failures", "_number", "_part", "_slow")

    def __init__(self, length: float) -> None:
        self._part = length / BUCKETS
        self._buckets = [[0, 0, 0] for _ in range(BUCKETS)]  # calls, failures, slow; part n is at n % BUCKETS
        self._bucket = self._buckets[0]  # of the current part; its calls are those since `_before`, until it ends
        self._number = -(1 << 62)  # before the part of any time
        self._ends = -inf
        self._before = 0
        self._calls = 0
        self._failures = 0
        self._slow = 0

    def add(self, now: float, failure: bool, slow: bool) -> int:
        """Add a call to the part of `now`."""
        if now >= self._ends:
            self._go_on(now)
        self._calls += 1
        if failure:
            self._bucket[1] += 1
            self._failures += 1
        if slow:
            self._bucket[2] += 1
            self._slow += 1
        return self._number

    def failed(self, mark: int) -> None:
        """Count the call of this mark as failed too, in the part in which it is."""
        if mark > self._number - BUCKETS:
            self._buckets[mark % BUCKETS][1] += 1
            self._failures += 1

    def totals(self, now: float) -> CallCounts:
        """Return the calls of the current part and of the nine before it."""
        if now >= self._ends:
            self._go_on(now)
        return CallCounts(self._calls, self._failures, self._slow)

    def _go_on(self, now: float) -> None:
        """Make the part of `now` the current one, and drop the parts that are too old."""
        number = max(int(now // self._part), self._number)
        self._bucket[0] += self._calls - self._before
        for each in range(max(self._number, number - BUCKETS) + 1, number + 1):
            bucket = self._buckets[each % BUCKETS]
            self._calls -= bucket[0]
            self._failures -= bucket[1]
            self._slow -= bucket[2]
            bucket[:] = (0, 0, 0)
        self._number = number
        self._bucket = self._buckets[number % BUCKETS]
        self._before = self._calls
        self._ends = (number + 1) * self._part


def window_of(window: int | float) -> Window:
    """Return an empty window for the setting of a Breaker: a whole number of calls, or a float of seconds."""
    return CountWindow(window) if type(window) is int else TimeWindow(window)
