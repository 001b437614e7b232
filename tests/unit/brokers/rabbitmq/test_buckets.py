"""The bucket of a delay: drawn so that the mean is kept, never far from the delay, and no draw where one fits."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.brokers.rabbitmq.buckets import BUCKETS, DELAYS, bucket_of


class Draw(Random):
    """A generator whose next number is known."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def random(self) -> float:
        return self.number


NEVER: Any = None
"""No generator: a draw would raise."""


def test_there_are_fourteen_from_a_second_to_four_hours_with_a_name_each() -> None:
    assert (len(DELAYS), DELAYS[0], DELAYS[-1], len(set(BUCKETS.values()))) == (14, 1.0, 4 * 3600.0, 14)
    assert list(DELAYS) == sorted(DELAYS)


@pytest.mark.parametrize("length", DELAYS)
def test_a_delay_of_a_length_gets_it_without_a_draw(length: float) -> None:
    assert {bucket_of(length + each, NEVER) for each in (-0.0009, 0.0, 0.0009)} == {length}


@pytest.mark.parametrize("delay", [0.0, -5.0, 0.0005])
def test_no_delay_is_no_bucket(delay: float) -> None:
    assert bucket_of(delay, NEVER) == 0


@pytest.mark.parametrize("delay", [14400.5, 1e9])
def test_a_delay_beyond_the_longest_gets_the_longest(delay: float) -> None:
    assert bucket_of(delay, Draw(0.999)) == 14400


@given(st.floats(0.01, 14399.9))
def test_the_mean_of_many_equal_delays_is_the_delay(delay: float) -> None:
    lengths = (0.0, *DELAYS)
    below = max(each for each in lengths if each <= delay)
    above = min((each for each in lengths if each > delay), default=below)
    share = (delay - below) / (above - below)
    mean = share * above + (1 - share) * below
    assert mean == pytest.approx(delay)
    if min(delay - below, above - delay) > 0.001:
        assert bucket_of(delay, Draw(share * 0.999)) == above
        assert bucket_of(delay, Draw(min(share * 1.001, 0.9999999))) in (below, above)
        assert bucket_of(delay, Draw(0.9999999999)) == below


def test_the_draws_of_a_seed_have_the_mean() -> None:
    rng = Random(7)
    drawn = [bucket_of(90.0, rng) for _ in range(20_000)]
    assert set(drawn) == {60.0, 120.0}
    assert sum(drawn) / len(drawn) == pytest.approx(90, rel=0.01)
