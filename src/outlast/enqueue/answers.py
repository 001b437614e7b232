"""Translate the store's answers to a publish into errors for the caller and events for observers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from outlast.core.errors import BodyTooLarge, IdConflict, OutlastError, QueueFull, StoreError, UniqueConflict
from outlast.core.events import Event, JobDropped, JobEnqueued, JobRefused, Refusal, trace_of
from outlast.core.message import Message
from outlast.core.settlement import Accepted, Exists, Full, Published, TooLarge

__all__ = ["RefusedMessage", "SameKind", "events_of", "raise_conflict", "raise_refused", "refused"]

SameKind = Callable[[str, str], bool]
"""Tells whether two wire kinds are one kind (`Registry.same_kind`)."""


class RefusedMessage(Struct, frozen=True):
    """A message that was not stored. retry_after: seconds until the store may accept it; None for never."""

    reason: Refusal
    error: OutlastError
    retry_after: float | None = None


def refused(message: Message, answer: Published, same_kind: SameKind) -> RefusedMessage | None:
    """Return why the store refused a message; None when it, or an existing job of its kind in its place, is stored."""
    match answer:
        case Accepted():
            return None
        case Exists(existing, by, kind):
            if not kind or same_kind(kind, message.kind):
                return None
            if by == "id":
                return RefusedMessage("conflict", IdConflict(existing, kind, message.kind))
            return RefusedMessage("conflict", UniqueConflict(_unique_key(message), existing, kind))
        case Full(retry_after, bound):
            return RefusedMessage("full", QueueFull(message.queue, retry_after, bound), retry_after)
        case TooLarge(size, limit, bound):
            return RefusedMessage("too-large", BodyTooLarge(message.kind, size, limit, bound))
        case _:
            error = StoreError(f"no queue accepts a message for {message.queue!r}: declare the queue")
            return RefusedMessage("unroutable", error)


def raise_refused(messages: Sequence[Message], answers: Sequence[Published], same_kind: SameKind) -> None:
    """Raise the error of the first refused message, with what was stored; return when all messages are stored."""
    refusals = [refused(message, answer, same_kind) for message, answer in zip(messages, answers, strict=True)]
    first = next((each for each in refusals if each is not None), None)
    if first is not None:
        raise _with_stored(first.error, messages, answers, [each is None for each in refusals])


def raise_conflict(messages: Sequence[Message], answers: Sequence[Accepted | Exists]) -> None:
    """Raise UniqueConflict for the first message with a unique key that another job holds (on_conflict="raise")."""
    for message, answer in zip(messages, answers, strict=True):
        if isinstance(answer, Exists) and answer.by == "unique":
            held = [isinstance(each, Exists) and each.by == "unique" for each in answers]
            error = UniqueConflict(_unique_key(message), answer.id)
            raise _with_stored(error, messages, answers, [not each for each in held])


def _with_stored(
    error: OutlastError, messages: Sequence[Message], answers: Sequence[Published], are_stored: Sequence[bool]
) -> OutlastError:
    each = list(zip(messages, answers, are_stored, strict=True))
    error.stored = tuple(
        answer.id if isinstance(answer, Exists) else message.id for message, answer, stored in each if stored
    )
    error.unstored = tuple(message for message, _, stored in each if not stored)
    if error.stored:
        error.add_note(
            f"{len(error.stored)} of the {len(answers)} messages in its batch were accepted; repeating all is safe"
        )
    return error


def _unique_key(message: Message) -> str:
    return message.unique.key if message.unique else ""


def events_of(messages: Iterable[Message], answers: Iterable[Published], same_kind: SameKind) -> Iterator[Event]:
    """Yield the events of a publish. An existing job of its kind gives no event: nothing was stored."""
    for message, answer in zip(messages, answers, strict=True):
        if isinstance(answer, Accepted):
            yield JobEnqueued(message.id, message.queue, message.kind, message.run_at, trace_of(message))
            for id_ in answer.shed:
                yield JobDropped(id_, message.queue, "shed", message.id)
            if answer.replaced is not None:
                yield JobDropped(answer.replaced, message.queue, "replaced", message.id)
        elif refusal := refused(message, answer, same_kind):
            yield JobRefused(message.id, message.queue, message.kind, refusal.reason, trace_of(message))
