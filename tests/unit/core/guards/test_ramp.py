"""The ramp after a closing: a tenth at once, all after `ramp` seconds, never less than before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.guards.answers import Admission
from outlast.core.guards.breaker import LocalBreaker
from outlast.core.guards.policies import Breaker
from outlast.core.guards.ramp import FIRST_SHARE, share, slots_of

times = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("closed_for", "ramp", "expected"),
    [
        (0, 10, 0.1),
        (5, 10, 0.55),
        (10, 10, 1.0),
        (11, 10, 1.0),
        (-3, 10, 0.1),
        (0, 0, 1.0),
        (-1, 0, 1.0),
        (float("inf"), 10, 1.0),
    ],
)
def test_the_share(closed_for: float, ramp: float, expected: float) -> None:
    assert share(closed_for, ramp) == pytest.approx(expected)


@given(times, times, st.floats(0, 1e6))
def test_it_never_falls_and_stays_between_a_tenth_and_all(one: float, other: float, ramp: float) -> None:
    earlier, later = sorted((one, other))
    assert FIRST_SHARE <= share(earlier, ramp) <= share(later, ramp) <= 1.0
    assert share(max(later, ramp), ramp) == 1.0


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=200), st.floats(0.5, 20))
def test_of_the_calls_no_more_are_made_than_the_shares_add_up_to(pauses: list[float], ramp: float) -> None:
    breaker = LocalBreaker(Breaker(ramp=ramp), 0.0)
    breaker.hold("open", 0.0)
    breaker.hold("", 0.0)
    now, made, due = 0.0, 0, 1.0  # the first call is made
    for pause in pauses:
        now += pause
        if share(now, ramp) == 1.0:
            assert isinstance(breaker.admit(now), Admission)
            continue
        due += share(now, ramp)
        made += isinstance(breaker.admit(now), Admission)
        assert due - 1.0 - 1e-9 <= made <= due + 1e-9


@pytest.mark.parametrize(
    ("part", "slots", "expected"),
    [(0.0, 100, 0), (0.1, 100, 10), (0.1, 5, 1), (0.59, 10, 5), (1.0, 7, 7), (0.01, 1, 1)],
)
def test_the_slots_of_a_share_are_at_least_one_unless_it_is_nothing(part: float, slots: int, expected: int) -> None:
    assert slots_of(part, slots) == expected
