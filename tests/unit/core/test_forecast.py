"""The forecast of a queue, from samples and from what its workers can do."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from outlast.core.forecast import (
    TAU,
    Backlog,
    Forecast,
    Offer,
    Sample,
    begins_in,
    forecast_of,
    measured,
    with_sample,
)
from outlast.core.limits import Rate

Flow = Callable[[float], float]


class Line:
    """A queue of one worker with `slots`, simulated in steps of 10 ms; it keeps samples as a store does."""

    def __init__(self, *, slots: int, run: float, depth: float = 0.0) -> None:
        self.offer = Offer(slots, run)
        self.at, self.depth, self.ended = 100.0, depth, 0.0
        self.samples: tuple[Sample, ...] = ()

    def work(self, seconds: float, arrivals: Flow = lambda at: 0.0) -> None:
        step = 0.01
        for _ in range(round(seconds / step)):
            come = arrivals(self.at) * step
            go = min(self.depth + come, self.offer.slots / self.offer.run * step)
            self.at += step
            self.depth += come - go
            self.ended = self.ended * math.exp(-step / TAU) + go
            self.samples = tuple(with_sample(self.samples, self.now))

    @property
    def now(self) -> Sample:
        return Sample(self.at, round(self.depth), self.ended, self.offer.slots)

    def forecast(self) -> Forecast:
        running = min(self.offer.slots, round(self.depth))
        backlog = Backlog(self.now, max(0, round(self.depth) - running), running)
        return forecast_of([self.offer], self.samples, backlog, paused=False, consumers=1)

    def empties_in(self, arrivals: Flow = lambda at: 0.0) -> float:
        began = self.at
        while self.depth > 0.01 and self.at < began + 10_000:
            self.work(0.1, arrivals)
        return self.at - began


@pytest.mark.parametrize("slots, run", [(4, 0.05), (10, 1.0), (2, 3.0)])
@pytest.mark.parametrize("after", [1, 10, 20, 40])
def test_a_backlog_without_arrivals(slots: int, run: float, after: int) -> None:
    line = Line(slots=slots, run=run, depth=slots / run * 120)
    line.work(after)
    predicted = line.forecast().empty_in
    assert predicted == pytest.approx(line.empties_in(), rel=0.1)


@pytest.mark.parametrize("after", [10, 20, 40])
def test_steady_arrivals(after: int) -> None:
    line = Line(slots=10, run=0.5, depth=1200)
    line.work(after, lambda at: 10.0)
    predicted = line.forecast().empty_in
    assert predicted == pytest.approx(line.empties_in(lambda at: 10.0), rel=0.15)


@pytest.mark.parametrize("after", [10, 20, 40])
def test_bursts_again_and_again(after: int) -> None:
    def bursts(at: float) -> float:
        return 50.0 if at % 2 < 0.4 else 0.0

    line = Line(slots=10, run=0.5, depth=1200)
    line.work(after, bursts)
    predicted = line.forecast().empty_in
    assert predicted == pytest.approx(line.empties_in(bursts), rel=0.25)


def test_a_burst_that_has_ended_is_not_expected_again() -> None:
    line = Line(slots=10, run=0.5)
    line.work(2)
    line.work(1, lambda at: 2000.0)
    line.work(9)
    assert line.forecast().empty_in == pytest.approx(line.empties_in(), rel=0.1)


def test_more_arrivals_than_ends() -> None:
    line = Line(slots=10, run=0.5, depth=100)
    line.work(20, lambda at: 32.0)
    found = line.forecast()
    assert (found.empty_in, found.told()) == (None, "never: grows by 12/s")
    assert found.growth == pytest.approx(12.0, rel=0.01)


def test_as_many_arrivals_as_ends() -> None:
    line = Line(slots=10, run=0.5, depth=100)
    line.work(20, lambda at: 20.0)
    assert line.forecast().told() == "never: as many jobs arrive as end"


def test_what_was_measured_wins_over_what_slots_promise() -> None:
    line = Line(slots=10, run=0.5, depth=1000)
    line.work(20)
    line.offer = Offer(10, 0.4)
    assert line.forecast().ends == pytest.approx(20.0, rel=0.02)


def test_slots_that_have_come_since_count_at_once() -> None:
    line = Line(slots=10, run=0.5, depth=1000)
    line.work(20)
    line.offer = Offer(20, 0.5)
    assert line.forecast().ends == pytest.approx(40.0, rel=0.02)


def test_a_measured_speed_beyond_the_capacity_is_of_the_past() -> None:
    line = Line(slots=10, run=0.5, depth=1000)
    line.work(20)
    line.offer = Offer(10, 5.0)
    assert line.forecast().ends == pytest.approx(3.0, rel=0.02)


def test_what_was_measured_needs_no_worker_that_knows_its_runs() -> None:
    line = Line(slots=10, run=0.5, depth=1000)
    line.work(20)
    line.offer = Offer(10)
    assert line.forecast().ends == pytest.approx(20.0, rel=0.02)


def test_ends_are_not_measured_while_slots_lacked_jobs() -> None:
    line = Line(slots=10, run=0.5)
    line.work(20, lambda at: 2.0)
    assert line.forecast().ends == 20.0


def test_workers_of_different_speed_add_up() -> None:
    pace = measured([Offer(2, 1.0), Offer(2, 0.5), Offer(4), Offer(0, 9.0)], (), Backlog(Sample(0, 9, 0), 9, 0))
    assert (pace.slots, pace.run) == (8, 0.75)
    assert pace.ends == pytest.approx(2 + 4 + 4 / 0.75)


def test_a_lower_limit_decides() -> None:
    now = Sample(0, 9, 0)
    assert measured([Offer(8, 1.0)], (), Backlog(now, 9, 0, concurrency=2)).ends == 2.0
    assert measured([Offer(8, 1.0)], (), Backlog(now, 9, 0, rate=Rate(30, 60.0))).ends == 0.5


def test_when_a_job_begins_that_is_enqueued_now() -> None:
    pace = measured([Offer(4, 2.0)], (), Backlog(Sample(0, 0, 0), 0, 0))
    assert begins_in(pace, 0, 3) == 0.0
    assert begins_in(pace, 0, 4) == 0.5
    assert begins_in(pace, 10, 4) == 5.5


def test_only_running_jobs_end_after_one_run() -> None:
    found = forecast_of([Offer(4, 2.0)], (), Backlog(Sample(0, 3, 0), 0, 3), paused=False, consumers=1)
    assert (found.empty_in, found.begin_in, found.told()) == (2.0, 0.0, "in 2.0 s")


def test_one_waiting_job_lasts_a_run() -> None:
    found = forecast_of([Offer(4, 2.0)], (), Backlog(Sample(0, 1, 0), 1, 0), paused=False, consumers=1)
    assert found.empty_in == 2.0


def test_an_unknown_speed_says_why() -> None:
    backlog = Backlog(Sample(0, 1, 0), 1, 0)
    assert forecast_of([Offer(4)], (), backlog, paused=False, consumers=1).told() == "unknown: no job has run yet"
    assert forecast_of([], (), backlog, paused=False, consumers=0).told() == "unknown: no worker"
    assert forecast_of([], (), backlog, paused=False, consumers=1).told() == "unknown: its workers take none now"
    assert forecast_of([Offer(4, 1.0)], (), backlog, paused=True, consumers=1).told() == "unknown: paused"
    empty = Backlog(Sample(0, 0, 0), 0, 0)
    assert forecast_of([], (), empty, paused=False, consumers=0).told() == "-"


def test_samples_are_some_seconds_apart_and_few() -> None:
    samples: tuple[Sample, ...] = ()
    for second in range(200):
        samples = tuple(with_sample(samples, Sample(second, 0, 0)))
    assert [after.at - before.at for before, after in pairwise(samples)] == [3.0] * 15


def test_a_clock_that_went_back_begins_anew() -> None:
    assert tuple(with_sample((Sample(50, 0, 0),), Sample(49, 1, 0))) == (Sample(49, 1, 0),)


def test_a_sample_of_long_ago_says_nothing() -> None:
    now = Sample(1000, 500, 0, 4)
    assert measured([Offer(4, 1.0)], (Sample(0, 0, 0, 4),), Backlog(now, 500, 0)).arrivals == 0.0
