"""The windows of a breaker: their sums are those of a naive list of calls, whatever the clock does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.guards.window import BUCKETS, CallCounts, CountWindow, Thresholds, TimeWindow, window_of

steps = st.one_of(st.just(0.0), st.floats(0, 2), st.floats(0, 40), st.floats(-1, 0))
"""How far the clock moves before a call: it stands still, moves, jumps over the window, or is read a little late."""
calls = st.lists(st.tuples(steps, st.booleans(), st.booleans(), st.integers(0, 30)), max_size=80)
"""The step of the clock, whether the call failed, whether it was slow, and which earlier call fails afterwards."""


class Oracle:
    """Keeps every call: [place, failed, slow]."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    def totals(self, first: float) -> CallCounts:
        kept = [call for call in self.calls if call[0] >= first]
        return CallCounts(len(kept), sum(call[1] for call in kept), sum(call[2] for call in kept))


def fail_an_earlier_one(window: Any, oracle: Oracle, marks: list[int], back: int) -> None:
    if back < len(marks) and not oracle.calls[-1 - back][1]:
        window.failed(marks[-1 - back])
        oracle.calls[-1 - back][1] = True


@given(calls, st.floats(0.001, 100), st.floats(0, 1e6))
def test_a_window_of_time_adds_up_to_the_calls_of_its_parts(
    history: list[tuple[float, bool, bool, int]], length: float, now: float
) -> None:
    window, oracle, marks, part, latest = TimeWindow(length), Oracle(), list[int](), -(10**12), now
    for step, failed, slow, back in history:
        now += step
        latest = max(latest, now)
        part = max(part, int(now // (length / BUCKETS)))
        marks.append(window.add(now, failed, slow))
        oracle.calls.append([part, failed, slow])
        fail_an_earlier_one(window, oracle, marks, back)
        assert window.totals(now) == oracle.totals(part - BUCKETS + 1)
    later = latest + length / 2
    part = max(part, int(later // (length / BUCKETS)))
    assert window.totals(later) == oracle.totals(part - BUCKETS + 1)
    assert window.totals(later + 2 * length) == CallCounts()


@given(calls, st.integers(1, 20))
def test_a_window_of_calls_adds_up_to_the_last_ones(history: list[tuple[float, bool, bool, int]], size: int) -> None:
    window, oracle, marks = CountWindow(size), Oracle(), list[int]()
    for number, (_, failed, slow, back) in enumerate(history):
        marks.append(window.add(0.0, failed, slow))
        oracle.calls.append([number, failed, slow])
        fail_an_earlier_one(window, oracle, marks, back)
        assert window.totals(0.0) == oracle.totals(number + 1 - size)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_a_call_stays_for_nine_to_ten_parts(pauses: list[float]) -> None:
    window, now = TimeWindow(10.0), 0.0
    for pause in pauses:
        now += pause
        window.add(now, failure=True, slow=False)
        kept = window.totals(now + 8.9).failures
        assert kept >= 1
        assert window.totals(now + 10.0).failures == 0
        window = TimeWindow(10.0)


def test_a_part_ends_with_the_first_moment_of_the_next_one() -> None:
    window = TimeWindow(10.0)
    assert window.add(0.0, failure=False, slow=False) == window.add(0.9, failure=False, slow=False)
    assert window.totals(9.9) == CallCounts(2)
    assert window.totals(10.0) == CallCounts()
    first = window.add(10.9, failure=False, slow=False)
    assert window.add(11.0, failure=False, slow=False) == first + 1


def test_a_clock_that_goes_back_loses_no_call() -> None:
    window = TimeWindow(10.0)
    window.add(100.0, failure=True, slow=False)
    window.add(3.0, failure=True, slow=True)
    assert window.totals(3.0) == window.totals(100.0) == CallCounts(2, 2, 1)


def test_the_setting_of_a_breaker_chooses_the_window() -> None:
    assert isinstance(window_of(30), CountWindow)
    assert isinstance(window_of(30.0), TimeWindow)


@pytest.mark.parametrize(
    ("totals", "why"),
    [
        (CallCounts(), ""),
        (CallCounts(9, 9, 9), ""),
        (CallCounts(10, 4, 0), ""),
        (CallCounts(10, 5, 0), "5 of 10 calls failed"),
        (CallCounts(10, 5, 10), "5 of 10 calls failed"),
        (CallCounts(10, 4, 8), "8 of 10 calls were slow"),
        (CallCounts(10, 4, 7), ""),
        (CallCounts(100, 50, 0), "50 of 100 calls failed"),
    ],
)
def test_thresholds(totals: CallCounts, why: str) -> None:
    assert Thresholds(10, 0.5, 0.8).passed(totals) == why


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_rate_is_met_by_exactly_its_share(percent: int) -> None:
    thresholds = Thresholds(1, percent / 100, 1.0)
    assert thresholds.passed(CallCounts(100, percent, 0)), "7 is not less than 0.07 * 100 = 7.000000000000001"
    assert not thresholds.passed(CallCounts(100, percent - 1, 0))


def test_failures_are_judged_only_if_there_is_a_rate_for_them() -> None:
    assert Thresholds(1, None, 0.5).passed(CallCounts(10, 10, 4)) == ""
    assert Thresholds(1, None, 0.5).passed(CallCounts(10, 10, 5)) == "5 of 10 calls were slow"
