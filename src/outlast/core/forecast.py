"""When a queue will be empty, and when a job that is enqueued now would begin: pure, from what the store has counted.

The model is a fluid queue: jobs arrive and end at steady rates, and the backlog grows by the difference. The rate of
ends is measured while the queue keeps all slots busy, and computed by Little's law (slots / mean run) before that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from outlast.core.guards.permits import PermitsInUse
from outlast.core.limits import Rate
from outlast.core.text import duration

__all__ = [
    "NO_LOADS",
    "SAMPLE_EVERY",
    "TAU",
    "Backlog",
    "Forecast",
    "Pace",
    "Sample",
    "Offer",
    "begins_in",
    "forecast_of",
    "measured",
    "permits_in",
    "with_sample",
]

TAU: Final = 30.0
"""Seconds in which the weight of an end in a store's counter of ended jobs falls to 1/e."""
SAMPLE_EVERY: Final = 2.5
"""Seconds between two samples of a queue."""
_KEPT: Final = 16
"""Samples that a queue keeps: their rates are of the last 40 seconds."""
_STALE: Final = 60.0
"""A longer interval between two samples says nothing of the present."""
_SHORT: Final = 1.0
"""In a shorter interval one job more or less would change the rate too much."""
_ENOUGH: Final = 10
"""With fewer ends the computed rate is nearer to the true one than the measured rate."""
_ROUNDS: Final = 8
"""The same, for each slot: jobs that begin together end together, and one such round more or less changes the rate."""
_ABOVE_CAPACITY: Final = 1.5
"""A measured rate that exceeds the capacity by more is of workers that have ended since."""
_BALANCED: Final = 0.02
"""Where arrivals are nearer to the ends than this share of them, the errors of both decide, and no end is foretold."""


class Offer(Struct, frozen=True, array_like=True, gc=False):
    """What one worker gives one queue. slots: jobs that it can run at once; run: mean seconds of one, 0 if unknown.

    permits: the bulkheads that are in use in its process, told with one queue of it.
    """

    slots: int
    run: float = 0.0
    permits: tuple[PermitsInUse, ...] = ()


NO_LOADS: Final[dict[str, Offer]] = {}


class Sample(Struct, frozen=True, array_like=True, gc=False):
    """A queue at one time, in seconds of the clock that its ends are counted by.

    depth: unfinished jobs; ended: the counter of ended jobs, whose weight decays over TAU; slots: of all workers.
    """

    at: float
    depth: int
    ended: float
    slots: int = 0


class Backlog(Struct, frozen=True, gc=False):
    """A queue now, and what limits it. ready, running: jobs."""

    now: Sample
    ready: int
    running: int
    concurrency: int | None = None
    rate: Rate | None = None


class Pace(Struct, frozen=True, gc=False):
    """How fast a queue moves. slots: jobs that run at once; ends, arrivals: jobs a second; run: mean seconds of one.

    ends None: unknown.
    """

    slots: int
    ends: float | None
    arrivals: float
    run: float


class Forecast(Struct, frozen=True, kw_only=True):
    """What a queue will do if arrivals, job lengths and workers stay as they are.

    empty_in: seconds until the jobs that wait now, and those that arrive meanwhile, have ended. begin_in: seconds until
    a job of normal priority begins that is enqueued now. None: unknown, or never; `why` tells. arrivals, ends: jobs a
    second; ends None: unknown.
    """

    empty_in: float | None = None
    begin_in: float | None = None
    arrivals: float = 0.0
    ends: float | None = None
    why: str = ""

    @property
    def growth(self) -> float:
        """Jobs a second that arrive beyond those that end; 0 where the queue does not grow, or that is unknown."""
        return 0.0 if self.ends is None or self.empty_in is not None else max(0.0, self.arrivals - self.ends)

    def told(self) -> str:
        """Return when the queue is empty, in words: "in 3 min", "never: grows by 12/s", "unknown: no worker".

        "-" for one that is empty.
        """
        if self.empty_in is None:
            return f"{'unknown' if self.ends is None else 'never'}: {self.why}"
        return f"in {duration(self.empty_in)}" if self.empty_in else "-"


class _Interval(Struct, frozen=True, gc=False):
    seconds: float
    ended: float
    arrived: float
    first: int
    least: int
    slots: int


def permits_in(offers: Iterable[Offer]) -> tuple[PermitsInUse, ...]:
    """Return the bulkheads that workers have told of."""
    return tuple(each for offer in offers for each in offer.permits)


def with_sample(samples: Sequence[Sample], sample: Sample) -> Sequence[Sample]:
    """Return the samples with one more, at most _KEPT; the same object if the last is younger than SAMPLE_EVERY."""
    if samples and 0 <= sample.at - samples[-1].at < SAMPLE_EVERY:
        return samples
    if samples and sample.at < samples[-1].at:
        return (sample,)  # the clock was set back
    return (*samples, sample)[-_KEPT:]


def _intervals(samples: Sequence[Sample], now: Sample) -> list[_Interval]:
    """Return the intervals between the samples, the one that lasts now included, without those that tell nothing."""
    found = []
    for before, after in pairwise((*samples, now)):
        seconds = after.at - before.at
        if not _SHORT <= seconds <= _STALE:
            continue
        kept = math.exp(-seconds / TAU)
        rate = max(0.0, (after.ended - before.ended * kept) / (TAU * (1 - kept)))
        ended = rate * seconds
        arrived = after.depth - before.depth + ended
        found.append(_Interval(seconds, ended, arrived, before.depth, min(before.depth, after.depth), before.slots))
    return found


def _usual(intervals: Sequence[_Interval]) -> Sequence[_Interval]:
    """Return the intervals without bursts that are over, which would otherwise count as arrivals to come.

    Left out are those that began with an empty queue, where there are others, and then the one with the most arrivals,
    if it had more than twice as many as any other.
    """
    by_rate = sorted([each for each in intervals if each.first] or intervals, key=_arrival_rate)
    if len(by_rate) > 1 and _arrival_rate(by_rate[-1]) > 2 * _arrival_rate(by_rate[-2]):
        by_rate.pop()
    return by_rate


def _arrival_rate(interval: _Interval) -> float:
    return interval.arrived / interval.seconds


def measured(offers: Iterable[Offer], samples: Sequence[Sample], backlog: Backlog) -> Pace:
    """Return how fast a queue moves. offers: of its live workers."""
    offered = [each for each in offers if each.slots > 0]
    slots = sum(each.slots for each in offered)
    known = [each for each in offered if each.run > 0]
    run = sum(each.slots * each.run for each in known) / sum(each.slots for each in known) if known else 0.0
    usual = _usual(_intervals(samples, backlog.now))
    # Arrivals and ends of the same intervals: an error of the ends is in both, and their difference is exact.
    arrivals = max(0.0, sum(each.arrived for each in usual) / sum(each.seconds for each in usual)) if usual else 0.0
    used = slots if backlog.concurrency is None else min(slots, backlog.concurrency)
    capacity = sum(each.slots / (each.run or run) for each in offered) * used / slots if run and slots else None
    ends = _measured_ends(usual, slots, used)
    if ends is None:
        ends = capacity
    elif capacity is not None:
        ends = min(ends, _ABOVE_CAPACITY * capacity)
    if ends is not None and backlog.rate is not None:
        ends = min(ends, backlog.rate.count / backlog.rate.per)
    return Pace(used, ends if slots else None, arrivals, run)


def _measured_ends(intervals: Sequence[_Interval], slots: int, used: int) -> float | None:
    """Return the rate of ends while no slot lacked a job; None if too few jobs ended then to tell."""
    busy = [each for each in intervals if each.slots and each.least >= max(1, used)]
    ended = sum(each.ended for each in busy)
    if ended < max(_ENOUGH, _ROUNDS * used):
        return None
    # Offer that came since, or went, change the rate at once.
    return sum(each.ended * slots / each.slots for each in busy) / sum(each.seconds for each in busy)


def begins_in(pace: Pace, ready: int, running: int) -> float | None:
    """Return the seconds until a job begins that is enqueued now, behind all ready jobs; None if that is unknown."""
    if pace.ends is None:
        return None
    ahead = max(0, ready + running + 1 - pace.slots)
    return ahead / pace.ends if ahead else 0.0


def forecast_of(
    offers: Iterable[Offer], samples: Sequence[Sample], backlog: Backlog, *, paused: bool, consumers: int
) -> Forecast:
    """Return the forecast of a queue. offers: of its live workers; consumers: how many these are."""
    pace = measured(offers, samples, backlog)
    waiting = backlog.ready + backlog.running
    empty = None if waiting else 0.0
    if paused:
        return Forecast(empty_in=empty, arrivals=pace.arrivals, why="paused")
    if not consumers or not pace.slots:
        why = "its workers take none now" if consumers else "no worker"
        return Forecast(empty_in=empty, arrivals=pace.arrivals, why=why)
    if pace.ends is None:
        return Forecast(empty_in=empty, arrivals=pace.arrivals, why="no job has run yet")
    begin = begins_in(pace, backlog.ready, backlog.running)
    why = ""
    if waiting:
        left = pace.ends - pace.arrivals
        if not backlog.ready:
            empty = pace.run
        elif left <= _BALANCED * pace.ends:
            why = f"grows by {-left:.3g}/s" if left < -_BALANCED * pace.ends else "as many jobs arrive as end"
        else:
            empty = max(waiting / left, pace.run)
    return Forecast(empty_in=empty, begin_in=begin, arrivals=pace.arrivals, ends=pace.ends, why=why)
