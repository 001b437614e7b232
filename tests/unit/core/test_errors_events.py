"""Errors say the setting and the fix; events and answers are plain frozen values."""

from __future__ import annotations

import pytest

from outlast.core import errors, events, toolkit_errors
from outlast.core.control_flow import Snooze
from outlast.core.settlement import ACCEPTED, UNROUTABLE, Accepted, Unroutable


@pytest.mark.parametrize(
    ("error", "said", "kept"),
    [
        (
            errors.QueueFull("mail", 12.4),
            "queue 'mail' is full (max_depth): try again in 12 s",
            {"queue": "mail", "retry_after": 12.4},
        ),
        (errors.BodyTooLarge("send", 9, 8), "max_body=8", {"kind": "send", "size": 9, "limit": 8}),
        (errors.UniqueConflict("k", "q.1"), "held by job 'q.1'", {"key": "k", "existing": "q.1"}),
        (errors.UniqueConflict("k", "q.1", "send"), "job 'q.1' of kind 'send'", {"existing": "q.1", "kind": "send"}),
        (
            errors.IdConflict("q.1", "send", "post"),
            "'q.1' belongs to a job of kind 'send'",
            {"id": "q.1", "kind": "send"},
        ),
        (errors.EnqueueUnknown("q.1", "timeout"), "repeat with id='q.1'", {"id": "q.1", "ids": ("q.1",)}),
        (
            errors.EnqueueUnknown("q.1", "timeout", ["q.1", "q.2"]),
            "'q.1' and 1 more may or may not have been accepted (timeout): send the same messages again",
            {"id": "q.1", "ids": ("q.1", "q.2")},
        ),
        (
            errors.JobFailed("q.1", "attempts", "boom"),
            "q.1 is dead (attempts): boom",
            {"id": "q.1", "reason": "attempts", "error": "boom"},
        ),
        (
            errors.ResultTimeout("q.1", "running", 2.5),
            "q.1 is still running after 2.5 s; the job continues",
            {"id": "q.1"},
        ),
        (errors.JobCancelled("q.1", " (replaced)"), "q.1 was cancelled (replaced)", {"id": "q.1"}),
        (errors.JobExpired("q.1"), "q.1 expired before it ran", {"id": "q.1"}),
        (
            errors.GuardOpen("pay", 3.21, "6 of 10 calls failed"),
            "guard 'pay' made no call (6 of 10 calls failed): try again in 3.2 s",
            {"guard": "pay", "retry_after": 3.21, "why": "6 of 10 calls failed"},
        ),
        (
            errors.BulkheadFull("pay", 20, "max_waiting"),
            "concurrency=20 calls were running, and max_waiting others were waiting: raise concurrency or max_waiting",
            {"guard": "pay", "concurrency": 20, "bound": "max_waiting", "retry_after": None},
        ),
        (
            errors.BulkheadFull("pay", 20),
            "and its turn did not come within max_wait: raise concurrency or max_wait of its Bulkhead",
            {"bound": "max_wait"},
        ),
        (
            errors.DeadlinePassed("pay", 0.25),
            "guard 'pay' made no call: the deadline of its caller passed 0.2 s before: give",
            {"guard": "pay", "late": 0.25, "retry_after": None},
        ),
        (
            errors.GuardTimeout("pay", 2.0),
            "guard 'pay': the call took longer than timeout=2 s: raise timeout",
            {"guard": "pay", "timeout": 2.0},
        ),
        (toolkit_errors.BoardFull("board 'b'", 1000), "board 'b' has max_members=1,000: raise it", {"limit": 1000}),
        (
            toolkit_errors.ToolkitAway("redis://a", "refused", uncertain=True, retry_after=1.0),
            "the toolkit's store redis://a is away (refused)",
            {"uncertain": True, "retry_after": 1.0, "by_deadline": False},
        ),
        (toolkit_errors.ObjectNotFound("k"), "no object 'k': it was never put there", {"key": "k"}),
        (toolkit_errors.ObjectDamaged("k", "2 of 3 bytes"), "object 'k' is damaged: 2 of 3 bytes", {"key": "k"}),
        (toolkit_errors.LockTimeout("l", 2.5), "'l' was held by others for 2.5 s", {"name": "l", "waited": 2.5}),
        (toolkit_errors.LockLost("l", 7, "expired"), "'l' (token 7) was lost: expired", {"token": 7, "why": "expired"}),
        (toolkit_errors.SessionEnded(), "nothing was written: send the request again", {}),
        (toolkit_errors.SessionConflict(["a", "b"]), "in 'a', 'b' or a part of it", {"fields": ("a", "b")}),
        (toolkit_errors.SessionFull(64, 16384), "more than max_fields=64 or max_bytes=16,384", {}),
        (Snooze(3), "snoozed for 3 s", {"seconds": 3}),
    ],
)
def test_an_error_says_what_to_do_and_carries_its_facts(
    error: errors.OutlastError, said: str, kept: dict[str, object]
) -> None:
    assert said in str(error)
    assert {name: getattr(error, name) for name in kept} == kept


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 1e11, "soon"])
def test_a_snooze_to_no_time_is_refused(wrong: float | str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"Snooze\(seconds\)="):
        Snooze(wrong)


def test_a_snooze_takes_any_duration() -> None:
    assert Snooze("5m").seconds == 300


def test_every_error_is_ours_and_told_in_its_docstring() -> None:
    for module, name in [(each, name) for each in (errors, toolkit_errors) for name in each.__all__]:
        error = getattr(module, name)
        assert issubclass(error, errors.OutlastError)
        assert error.__doc__


def test_one_except_catches_what_users_expect() -> None:
    assert issubclass(errors.InvalidArguments, ValueError)
    assert issubclass(errors.ResultTimeout, TimeoutError)
    assert issubclass(errors.JobNotFound, LookupError)
    assert issubclass(errors.DuplicateKind, errors.ConfigurationError)
    assert issubclass(errors.StoreFull, errors.StoreError)
    for refused in (errors.GuardOpen, errors.BulkheadFull, errors.DeadlinePassed):
        assert issubclass(refused, errors.GuardRefused)
    for late in (errors.DeadlinePassed, errors.GuardTimeout):
        assert issubclass(late, errors.GuardError)
        assert issubclass(late, TimeoutError)
    assert not issubclass(errors.GuardTimeout, errors.GuardRefused), "the call was made"


def test_events_cannot_be_changed() -> None:
    event = events.JobEnded("q.1", "q", "send", "dead", "attempts", 0.5)
    with pytest.raises(AttributeError):
        event.state = "succeeded"  # type: ignore[misc]
    assert event == events.JobEnded("q.1", "q", "send", "dead", "attempts", 0.5)


def test_answers_without_facts_are_shared() -> None:
    assert Accepted() == ACCEPTED
    assert Unroutable() == UNROUTABLE


def test_an_observer_gets_the_types_that_it_asked_for_or_all() -> None:
    def hears_all(event: events.Event) -> None: ...

    def hears_some(event: events.Event) -> None: ...

    observers = events.Observers()
    assert not observers
    assert observers.of(events.JobStarted) == ()
    observers.add(hears_all)
    observers.add(hears_some, (events.JobEnded, events.JobLost))
    assert observers
    assert observers.of(events.JobStarted) == (hears_all,)
    assert observers.of(events.JobEnded) == observers.of(events.JobLost) == (hears_all, hears_some)
