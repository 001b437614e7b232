"""An exception as the text that is kept: whatever it is, without what is redacted, within bounds."""

from __future__ import annotations

import msgspec
import pytest

from outlast.worker.failures import MESSAGE_LIMIT, TRACEBACK_LIMIT, TYPE_LIMIT, failure_of, type_name
from tests.support.apps.hostile_app import ERRORS, Unnamed, raising

SECRET = "hunter2-Zq9x"


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize("word", ERRORS)
def test_any_exception_becomes_text_that_a_store_can_keep(word: str) -> None:
    failure, _ = failure_of(raised(ERRORS[word]()), attempt=1, at=0.0, secrets=("nothing",))
    assert msgspec.json.decode(msgspec.json.encode(failure), type=type(failure)) == failure
    assert 0 < len(failure.type) <= TYPE_LIMIT
    assert len(failure.message) <= MESSAGE_LIMIT
    assert 0 < len(failure.traceback) <= TRACEBACK_LIMIT
    assert failure.type.isprintable()


@pytest.mark.parametrize(
    ("word", "whole"),
    [
        ("KeyboardInterrupt", True),
        ("cycle", True),
        ("notes", True),
        ("chain", False),
        ("shared group", False),
        ("deep group", False),
        ("half a character", False),
        ("property __cause__", False),
        ("class GeneratorExit", False),
    ],
)
def test_what_the_standard_library_cannot_format_is_known(word: str, whole: bool) -> None:
    """Else a handler of the log would raise, or take hours for a group that stands in itself many times."""
    assert failure_of(raised(ERRORS[word]()), attempt=1, at=0.0).whole is whole


def test_of_too_many_exceptions_the_first_are_shown_with_their_frames() -> None:
    group = BaseExceptionGroup("all of them", [raised(ValueError(f"number {n}")) for n in range(1000)])
    trace = failure_of(group, attempt=1, at=0.0).failure.traceback
    assert "all of them" in trace
    assert "ValueError: number 0" in trace
    assert "in raised" in trace
    assert "number 99" not in trace


def test_an_error_in_a_loop_of_contexts_is_told() -> None:
    error, other = ValueError("x"), RuntimeError("y")
    error.__context__, other.__context__ = other, error
    failure, whole = failure_of(error, attempt=1, at=0.0)
    assert whole
    assert "RuntimeError: y" in failure.traceback


def test_nothing_of_a_failure_shows_what_is_redacted() -> None:
    error = type(f"No_{SECRET}", (Exception,), {})(SECRET)
    error.add_note(f"tried {SECRET}")
    error.__cause__ = BaseExceptionGroup(SECRET, [KeyError(SECRET), raised(OSError(2, "not found", SECRET))])
    error.__context__ = type(SECRET, (ValueError,), {})()
    failure, _ = failure_of(error, attempt=1, at=0.0, secrets=(SECRET,))
    assert SECRET not in msgspec.json.encode(failure).decode()
    assert failure.type == "No_[redacted]"
    assert failure.traceback.count("[redacted]") >= 6


def test_the_name_of_a_class_is_bounded_and_one_line() -> None:
    failure, _ = failure_of(ERRORS["class with a long name"](), attempt=1, at=0.0)
    assert failure.type.startswith("\\x1b\\nXXX")
    assert len(failure.type) == TYPE_LIMIT
    assert type_name(Unnamed()) == "Unnamed"


def test_a_text_that_raises_is_told_by_the_class_of_what_it_raised() -> None:
    error = type("Silent", (Exception,), {"__str__": raising(GeneratorExit)})()
    failure, _ = failure_of(error, attempt=1, at=0.0)
    assert (failure.type, failure.message) == ("Silent", "(no message: GeneratorExit while it was formatted)")
