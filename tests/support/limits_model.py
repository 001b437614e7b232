"""What each algorithm of the limiter admits, by its definition: lists of requests and exact fractions, no state."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

__all__ = ["Model"]

STEPS = 128


@dataclass
class Model:
    """The requests of one key that were counted, as (time, cost), under limits of (count, period in microseconds)."""

    algorithm: str
    limits: list[tuple[int, int]]
    count_refused: bool = False
    burst: int | None = None
    arrival: dict[int, Fraction] = field(default_factory=dict)
    """GCRA: the theoretical arrival time of each limit."""
    counted: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def take(self, now: int, cost: int) -> tuple[bool, list[int], int]:
        """Return (admitted, what remains of each limit, microseconds until the cost fits); count what is admitted."""
        numbers = range(len(self.limits))
        admitted = all(self._fits(at, now, cost) for at in numbers)
        if admitted or self.count_refused:
            for at in numbers:
                self._count(at, now, cost)
        left = [self._left(at, now) for at in numbers]
        wait = 0 if admitted else max(self._wait(at, now, cost) for at in numbers)
        return admitted, left, wait

    def more(self, now: int) -> list[int]:
        """Return the microseconds until each limit admits one more than what remains of it; 0 if all is there."""
        return [self._wait(at, now, min(self._left(at, now) + 1, self._burst(at))) for at in range(len(self.limits))]

    def _burst(self, at: int) -> int:
        return self.burst if self.burst is not None and at == 0 else self.limits[at][0]

    def _spacing(self, at: int) -> Fraction:
        return Fraction(self.limits[at][1], self.limits[at][0])

    def _early(self, at: int, now: int) -> Fraction:
        """GCRA: how far the theoretical arrival time is ahead."""
        return max(Fraction(0), self.arrival.get(at, Fraction(0)) - now)

    def _used(self, at: int, now: int) -> int:
        """Windows: the counted cost that a request at `now` is weighed with."""
        return sum(cost for time, cost in self.counted.get(at, []) if self._ends(at, time) > now)

    def _ends(self, at: int, time: int) -> int:
        """When a request of a window stops counting."""
        count, period = self.limits[at]
        if self.algorithm == "fixed":
            return (time // period + 1) * period
        if count <= STEPS:
            return time + period
        width = -(-period // STEPS)
        return max(each for each, _ in self.counted[at] if each // width == time // width) + period

    def _fits(self, at: int, now: int, cost: int) -> bool:
        if self.algorithm == "gcra":
            return self._early(at, now) + cost * self._spacing(at) <= self._burst(at) * self._spacing(at)
        return self._used(at, now) + cost <= self.limits[at][0]

    def _count(self, at: int, now: int, cost: int) -> None:
        if self.algorithm == "gcra":
            most = self._burst(at) * self._spacing(at)
            self.arrival[at] = now + min(most, self._early(at, now) + cost * self._spacing(at))
        else:
            self.counted.setdefault(at, []).append((now, cost))

    def _left(self, at: int, now: int) -> int:
        if self.algorithm == "gcra":
            return (self._burst(at) * self._spacing(at) - self._early(at, now)) // self._spacing(at)
        return max(0, self.limits[at][0] - self._used(at, now))

    def _wait(self, at: int, now: int, cost: int) -> int:
        if self.algorithm == "gcra":
            beyond = self._early(at, now) + (cost - self._burst(at)) * self._spacing(at)
            return max(0, -int(-beyond // 1))
        ends = sorted({self._ends(at, time) for time, _ in self.counted.get(at, [])} | {now})
        return next(end - now for end in ends if end >= now and self._used(at, end) + cost <= self.limits[at][0])
