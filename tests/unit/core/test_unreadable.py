"""What is told of stored content that cannot be read."""

from __future__ import annotations

import math

import pytest
from msgspec import Raw

from outlast.core.message import Failure
from outlast.core.unreadable import (
    READ_ERRORS,
    ToldOnce,
    check_time,
    json_text,
    shown_args,
    unread_result,
    unreadable,
)

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


def test_only_a_result_that_cannot_be_read_is_told_as_one() -> None:
    found = unreadable(ValueError("damage"), what="its result")
    others = [unreadable(ValueError("damage"), what=what) for what in ("its progress", "its arguments", "a failure")]
    raised = [Failure(1, 0.0, "Unreadable", text, "Traceback ...") for text in ("mine", found.message)]
    assert unread_result([*others, *raised, found, *others]) == found
    assert unread_result([*others, *raised]) is None


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


def test_each_unreadable_value_is_news_once_until_it_changes_or_is_read_again() -> None:
    told = ToldOnce()
    assert [told.is_news("a", b"x"), told.is_news("a", b"x"), told.is_news("b", b"x")] == [True, False, True]
    assert [told.is_news("a", b"y"), told.is_news("a", b"y")] == [True, False]
    told.forget("a")
    told.forget("a")
    assert told.is_news("a", b"y")


def test_of_too_many_unreadable_values_the_oldest_is_told_again() -> None:
    told = ToldOnce()
    assert all(told.is_news(each, b"x") for each in range(10_001))
    assert [told.is_news(1, b"x"), told.is_news(0, b"x")] == [False, True]
