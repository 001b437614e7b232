"""Policy: durations, retries, the table of defaults."""

from __future__ import annotations

from datetime import timedelta

import pytest

from outlast.core.backoff import Exponential
from outlast.core.errors import ConfigurationError
from outlast.core.message import rank_of
from outlast.core.policy import DEFAULTS, HEAD_START, Policy, Retention, Retry, seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (2, 2.0),
        (1.5, 1.5),
        ("250ms", 0.25),
        ("30s", 30.0),
        (" 5m ", 300.0),
        ("1.5 h", 5400.0),
        ("2d", 172800.0),
        (timedelta(minutes=1, milliseconds=5), 60.005),
    ],
)
def test_durations(value: float | str | timedelta, expected: float) -> None:
    assert seconds(value, "timeout") == expected


@pytest.mark.parametrize(
    "wrong", [-1, "-1s", "", "5", "5 parsecs", "s", float("nan"), float("inf"), timedelta(-1), True, None, [1], "1e3s"]
)
def test_what_is_no_duration_is_refused_with_the_settings_name(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        seconds(wrong, "timeout")  # type: ignore[arg-type]


def test_retry_bounds() -> None:
    Retry(attempts=1, budget=0.1)
    with pytest.raises(ConfigurationError, match="attempts=0"):
        Retry(attempts=0)
    with pytest.raises(ConfigurationError, match="budget=0"):
        Retry(budget=0)


def test_the_defaults_are_one_table() -> None:
    assert Policy().retry.attempts == DEFAULTS.attempts
    assert Policy().retry.backoff == Exponential(base=DEFAULTS.backoff_base, cap=DEFAULTS.backoff_cap)
    assert (Policy().timeout, Policy().result_ttl) == (DEFAULTS.timeout, DEFAULTS.result_ttl)
    assert Retention() == Retention(
        record_ttl=DEFAULTS.record_ttl,
        records=DEFAULTS.records_kept,
        dead_ttl=DEFAULTS.dead_ttl,
        id_memory=DEFAULTS.id_memory,
    )


def test_a_priority_is_a_fixed_head_start_in_rank() -> None:
    assert HEAD_START == {"high": 60.0, "normal": 0.0, "low": -60.0}
    assert rank_of(100.0, "normal") == 100_000
    assert rank_of(100.0, "high") == 40_000
    assert rank_of(100.0, "low") == 160_000
    assert rank_of(100.0004, "normal") == 100_000
