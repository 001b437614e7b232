"""Backoff: how long a failed job waits."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.backoff import Constant, Exponential
from outlast.core.errors import ConfigurationError


def test_it_doubles_to_its_cap() -> None:
    backoff = Exponential(base=1, cap=20, jitter="none")
    assert [backoff.delay(attempt, Random(0)) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 20, 20]


def test_a_factor_of_its_own() -> None:
    backoff = Exponential(base=2, cap=1000, factor=3, jitter="none")
    assert [backoff.delay(attempt, Random(0)) for attempt in (1, 2, 3)] == [2, 6, 18]
    assert Exponential(base=2, cap=9, factor=1, jitter="none").delay(500, Random(0)) == 2


def test_full_jitter_spreads_from_nothing_to_the_wait() -> None:
    rng = Random(7)
    waits = [Exponential(base=8, cap=8).delay(1, rng) for _ in range(500)]
    assert min(waits) < 1
    assert max(waits) > 7
    assert all(0 <= wait <= 8 for wait in waits)


def test_the_same_chance_gives_the_same_wait() -> None:
    backoff = Exponential()
    assert backoff.delay(3, Random(5)) == backoff.delay(3, Random(5))


@given(st.integers(1, 10**9), st.sampled_from([1.0, 1.2, 1.5, 2.0, 10.0]))
def test_it_never_passes_its_cap_and_never_overflows(attempt: int, factor: float) -> None:
    assert 0 <= Exponential(base=0.5, cap=300, factor=factor).delay(attempt, Random(0)) <= 300


def test_constant() -> None:
    assert [Constant(5).delay(attempt, Random(0)) for attempt in (1, 99)] == [5, 5]
    assert Constant(0).delay(1, Random(0)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": -1},
        {"base": 10, "cap": 5},
        {"factor": 0.5},
        {"factor": "2"},
        {"base": float("nan")},
        {"cap": "soon"},
        {"jitter": "half"},
    ],
)
def test_wrong_values_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"Exponential.*{list(wrong)[-1]}"):
        Exponential(**wrong)


def test_a_negative_constant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Constant\(seconds\)=-1"):
        Constant(-1)


def test_times_are_any_duration() -> None:
    assert Exponential(base="1s", cap=timedelta(minutes=5)) == Exponential(base=1, cap=300)
    assert Constant("2m") == Constant(120)
