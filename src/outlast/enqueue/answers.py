"""Translate the store's answers to a publish into errors for the caller and events for observers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from outlast.core.errors import BodyTooLarge, OutlastError, QueueFull, StoreError, UniqueConflict
from outlast.core.events import Event, JobDropped, JobEnqueued, JobRefused, Refusal
from outlast.core.message import Message
from outlast.core.settlement import Accepted, Exists, Full, Published, TooLarge

__all__ = ["RefusedMessage", "events_of", "raise_conflict", "raise_refused", "refused"]


class RefusedMessage(Struct, frozen=True):
    """A message that was not stored. retry_after: seconds until the store may accept it; None for never."""

    reason: Refusal
    error: OutlastError
    retry_after: float | None = None


def refused(message: Message, answer: Published) -> RefusedMessage | None:
    """Return why the store refused a message; None when it, or an existing job in its place, is stored."""
    match answer:
        case Accepted() | Exists():
            return None
        case Full(retry_after, bound):
            return RefusedMessage("full", QueueFull(message.queue, retry_after, bound), retry_after)
        case TooLarge(size, limit, bound):
            return RefusedMessage("too-large", BodyTooLarge(message.kind, size, limit, bound))
        case _:
            error = StoreError(f"no queue accepts a message for {message.queue!r}: declare the queue")
            return RefusedMessage("unroutable", error)


def raise_refused(messages: Sequence[Message], answers: Sequence[Published]) -> None:
    """Raise the error of the first refused message; return when all messages are stored."""
    for message, answer in zip(messages, answers, strict=True):
        refusal = refused(message, answer)
        if refusal is not None:
            stored = sum(isinstance(each, Accepted | Exists) for each in answers)
            if stored:
                refusal.error.add_note(
                    f"{stored} of the {len(answers)} messages in its batch were accepted; repeating all is safe"
                )
            raise refusal.error


def raise_conflict(messages: Sequence[Message], answers: Sequence[Accepted | Exists]) -> None:
    """Raise UniqueConflict for the first message with a unique key that another job holds (on_conflict="raise")."""
    for message, answer in zip(messages, answers, strict=True):
        if isinstance(answer, Exists) and answer.by == "unique":
            raise UniqueConflict(message.unique.key if message.unique else "", answer.id)


def events_of(messages: Iterable[Message], answers: Iterable[Published]) -> Iterator[Event]:
    """Yield the events of a publish. An existing job gives no event: nothing was stored."""
    for message, answer in zip(messages, answers, strict=True):
        if isinstance(answer, Accepted):
            yield JobEnqueued(message.id, message.queue, message.kind, message.run_at)
            for id_ in answer.shed:
                yield JobDropped(id_, message.queue, "shed", message.id)
            if answer.replaced is not None:
                yield JobDropped(answer.replaced, message.queue, "replaced", message.id)
        elif refusal := refused(message, answer):
            yield JobRefused(message.id, message.queue, message.kind, refusal.reason)
