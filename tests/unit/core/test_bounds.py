"""Times that a caller may give."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outlast.core.bounds import LAST_MOMENT, checked_moment
from outlast.core.errors import ConfigurationError


def test_a_moment_is_a_datetime_with_a_zone_or_seconds() -> None:
    assert checked_moment(datetime(1970, 1, 2, tzinfo=UTC), "run_at") == 86_400.0
    assert [checked_moment(each, "run_at") for each in (0, LAST_MOMENT)] == [0.0, LAST_MOMENT]


@pytest.mark.parametrize("wrong", ["soon", None, b"0", True, datetime(1970, 1, 2)])
def test_what_is_no_moment_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=r"run_at.*: give a datetime with a zone"):
        checked_moment(wrong, "run_at")


@pytest.mark.parametrize("wrong", [-1, LAST_MOMENT + 1, float("nan"), float("inf")])
def test_a_moment_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigurationError, match=r"run_at=.*: give a time from 1970 to the year 9999"):
        checked_moment(wrong, "run_at")
