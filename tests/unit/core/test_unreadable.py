"""What is told of stored content that cannot be read."""

from __future__ import annotations

import math

import pytest
from msgspec import Raw

from outlast.core.message import Failure
from outlast.core.unreadable import READ_ERRORS, check_time, json_text, shown_args, unreadable

HUGE = b'{"n":' + b"1" * 5000 + b"}"
DEEP = b"[" * 20_000
BAD = [HUGE, b"", b"[1]", b'{"n":', b'{"n":"\xff"}', b'{"n":' + DEEP]


def test_arguments_that_can_be_read_are_shown_with_their_marks() -> None:
    told: list[Failure] = []
    assert shown_args(Raw(b'{"a":1,"b":2}'), ("b",), told, 1) == {"a": 1, "b": "[redacted]"}
    assert told == []


@pytest.mark.parametrize("body", BAD)
def test_arguments_that_cannot_be_read_are_told_and_not_shown(body: bytes) -> None:
    told: list[Failure] = []
    assert shown_args(Raw(body), (), told, 3) == {}
    (failure,) = told
    assert (failure.type, failure.attempt) == ("Unreadable", 3)
    assert failure.message.startswith("its arguments cannot be read (")


def test_a_failure_is_bounded() -> None:
    assert len(unreadable(ValueError("x" * 9000)).message) == 500


def test_json_is_checked_and_not_changed() -> None:
    assert bytes(json_text('{"a": 1}')) == b'{"a": 1}'


@pytest.mark.parametrize("value", ["{", "", "[" * 20_000, b"{}", 7, None])
def test_what_is_no_json_text_is_refused(value: object) -> None:
    with pytest.raises(READ_ERRORS):
        json_text(value)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e9, None])
def test_a_time_passes(value: float | None) -> None:
    check_time(value, "due")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_no_time_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="due is no time"):
        check_time(value, "due")
