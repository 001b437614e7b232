"""What each answer of the store means to the caller and to observers."""

from __future__ import annotations

import pytest
from msgspec import Raw

from outlast import (
    BodyTooLarge,
    IdConflict,
    JobDropped,
    JobEnqueued,
    JobRefused,
    OutlastError,
    QueueFull,
    StoreError,
    UniqueConflict,
)
from outlast.core.events import Event
from outlast.core.kinds import name_of
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, UNROUTABLE, Accepted, Exists, Full, Published, TooLarge
from outlast.core.unique import Unique
from outlast.enqueue.answers import events_of, raise_conflict, raise_refused, refused

MESSAGE = Message(
    id="mail.1", queue="mail", kind="send", args=Raw(b"{}"), enqueued_at=1, run_at=2, unique=Unique("to:ann")
)
ENQUEUED = JobEnqueued("mail.1", "mail", "send", 2)
CONFLICT = JobRefused("mail.1", "mail", "send", "conflict")


def same_kind(one: str, other: str) -> bool:
    return name_of(one) == name_of(other)


@pytest.mark.parametrize(
    ("answer", "error", "retry_after", "events"),
    [
        (ACCEPTED, None, None, [ENQUEUED]),
        (
            Accepted(replaced="mail.0", shed=("mail.8", "mail.9")),
            None,
            None,
            [
                ENQUEUED,
                JobDropped("mail.8", "mail", "shed", "mail.1"),
                JobDropped("mail.9", "mail", "shed", "mail.1"),
                JobDropped("mail.0", "mail", "replaced", "mail.1"),
            ],
        ),
        (Exists("mail.0", "unique"), None, None, []),
        (Exists("mail.1"), None, None, []),
        (Exists("mail.1", "id", "send@2"), None, None, []),
        (Exists("mail.0", "unique", "send"), None, None, []),
        (Exists("mail.1", "id", "invoice"), IdConflict, None, [CONFLICT]),
        (Exists("mail.0", "unique", "invoice"), UniqueConflict, None, [CONFLICT]),
        (Full(7, "max_bytes"), QueueFull, 7, [JobRefused("mail.1", "mail", "send", "full")]),
        (TooLarge(9, 8), BodyTooLarge, None, [JobRefused("mail.1", "mail", "send", "too-large")]),
        (UNROUTABLE, StoreError, None, [JobRefused("mail.1", "mail", "send", "unroutable")]),
    ],
)
def test_an_answer(
    answer: Published, error: type[OutlastError] | None, retry_after: float | None, events: list[Event]
) -> None:
    assert list(events_of([MESSAGE], [answer], same_kind)) == events
    refusal = refused(MESSAGE, answer, same_kind)
    if error is None:
        assert refusal is None
        raise_refused([MESSAGE], [answer], same_kind)
    else:
        assert refusal is not None
        assert (type(refusal.error), refusal.retry_after) == (error, retry_after)
        with pytest.raises(error) as caught:
            raise_refused([MESSAGE], [answer], same_kind)
        assert not hasattr(caught.value, "__notes__")


def test_the_first_refusal_says_what_was_kept_of_its_batch() -> None:
    with pytest.raises(QueueFull) as caught:
        raise_refused([MESSAGE] * 4, [ACCEPTED, Full(1), UNROUTABLE, Exists("mail.0")], same_kind)
    assert caught.value.__notes__ == ["2 of the 4 messages in its batch were accepted; repeating all is safe"]
    assert (caught.value.stored, caught.value.unstored) == (("mail.1", "mail.0"), (MESSAGE, MESSAGE))


def test_a_conflict_is_a_key_that_another_job_holds() -> None:
    raise_conflict([MESSAGE, MESSAGE], [ACCEPTED, Exists("mail.1", "id")])
    with pytest.raises(UniqueConflict, match=r"unique key 'to:ann' is held by job 'mail\.0'") as caught:
        raise_conflict([MESSAGE, MESSAGE], [ACCEPTED, Exists("mail.0", "unique")])
    assert caught.value.existing == "mail.0"
    assert (caught.value.stored, caught.value.unstored) == (("mail.1",), (MESSAGE,))
