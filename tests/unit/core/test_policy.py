"""Policy: durations, retries, the table of defaults."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

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
    "wrong",
    [
        *(
            -1,
            "-1s",
            "",
            "5",
            "5 parsecs",
            "s",
            float("nan"),
            float("inf"),
            1e11,
            timedelta(-1),
            True,
            None,
            [1],
            "1e3s",
        ),
        *(10**400, -(10**400), 10**5000, "9" * 400 + "s", timedelta.max, object(), Decimal(5)),
    ],
    ids=range(21),
)
def test_what_is_no_duration_is_refused_with_the_settings_name(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        seconds(wrong, "timeout")


def test_retry_takes_one_class_or_several_and_any_duration() -> None:
    assert Retry(give_up_on=KeyError, retry_on=[OSError, ValueError], within="1h") == Retry(
        give_up_on=(KeyError,), retry_on=(OSError, ValueError), within=3600
    )
    assert Retry(attempts=1, within=timedelta(milliseconds=100)).within == 0.1


def test_the_old_name_of_within_is_taken_for_one_release_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="give within") as warned:
        retry = Retry(attempts=2, budget="1h")
    assert warned[0].filename == __file__
    assert retry == Retry(attempts=2, within=3600)
    with pytest.warns(DeprecationWarning, match="give within") as warned:
        assert retry.budget == 3600
    assert warned[0].filename == __file__
    assert structs.replace(retry, within=60) == Retry(attempts=2, within=60)
    assert "budget" not in repr(retry)
    with pytest.raises(ConfigurationError, match="budget is the old name of within"):
        Retry(budget=60, within=60)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"attempts": "5"}, "attempts='5'"),
        ({"attempts": 2.5}, "attempts=2.5"),
        ({"backoff": 5}, "backoff=5"),
        ({"retry_on": ("OSError",)}, "retry_on="),
        ({"give_up_on": KeyError("x")}, "give_up_on="),
        ({"give_up_on": (int,)}, "give_up_on="),
        ({"within": 0}, "within=0"),
        ({"within": "soon"}, "within.='soon'"),
    ],
)
def test_a_retry_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Retry(**wrong)


def test_retention_takes_any_duration_and_refuses_what_is_none() -> None:
    assert Retention(record_ttl="1h", dead_ttl=timedelta(days=1)) == Retention(record_ttl=3600, dead_ttl=86400)
    assert Retention(records=2**53).records == 2**53
    for wrong, named in (
        ({"record_ttl": -1}, "record_ttl"),
        ({"records": -1}, "records"),
        ({"records": 1.5}, "records"),
        ({"records": 2**53 + 1}, "records"),
    ):
        with pytest.raises(ConfigurationError, match=rf"Retention\({named}"):
            Retention(**wrong)


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


@pytest.mark.parametrize("results", [-1, 1.5, True, "10"])
def test_the_number_of_results_is_checked(results: object) -> None:
    with pytest.raises(ConfigurationError, match=r"Retention\(results=.*\): give a whole number"):
        Retention(results=results)  # type: ignore[arg-type]


def test_results_are_bounded_like_records_unless_they_have_a_bound_of_their_own() -> None:
    assert [Retention(records=7).results_kept, Retention(records=7, results=0).results_kept] == [7, 0]
