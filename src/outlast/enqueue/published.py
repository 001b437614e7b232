"""What became of published events: handles of the copies that are stored, and errors for what is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import structs

from outlast.core.codec import EMPTY_ARGS
from outlast.core.errors import EventIncomplete, EventUnroutable, OutlastError
from outlast.core.exchanges.values import Copy, ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import Accepted, Exists, Published
from outlast.enqueue.answers import refused
from outlast.enqueue.handle import Handle

if TYPE_CHECKING:
    from outlast.core.durability import Durability
    from outlast.enqueue.runtime import Runtime

__all__ = ["PublishedEvent", "copy_messages", "incomplete", "published", "with_answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEvent:
    """An event that is stored. copies: by queue, the handle of its copy; `created` is False for one stored before.

    refused: by queue, the error of a copy that is not stored; empty unless it is the `published` of EventIncomplete.
    kept: no binding took it, and the one copy is in the queue `<exchange>-unroutable`. native: a server routes the
    events of this exchange and has confirmed this one; it does not tell to which queues.
    """

    id: str
    exchange: str
    durability: Durability
    copies: Mapping[str, Handle[Any]]
    refused: Mapping[str, OutlastError]
    kept: bool = False
    native: bool = False


def _pairs(events: Sequence[ExchangeEvent], routed: Sequence[Routed]) -> Iterator[tuple[ExchangeEvent, Copy]]:
    for event, each in zip(events, routed, strict=True):
        for copy in each.copies:
            yield event, copy


def copy_messages(events: Sequence[ExchangeEvent], routed: Sequence[Routed]) -> list[Message]:
    """Return the messages of all copies without their arguments, for what is told of answers to messages."""
    return [_message(event, copy) for event, copy in _pairs(events, routed)]


def _message(event: ExchangeEvent, copy: Copy) -> Message:
    return Message(id=copy.id, queue=copy.queue, kind=copy.kind, args=EMPTY_ARGS, enqueued_at=event.at, run_at=event.at)


def with_answers(routed: Sequence[Routed], answers: Sequence[Published]) -> list[Routed]:
    """Return what became of the events with other answers for their copies, in the same order."""
    rest = iter(answers)
    return [
        structs.replace(each, copies=tuple(structs.replace(copy, answer=next(rest)) for copy in each.copies))
        for each in routed
    ]


def published(
    event: ExchangeEvent, routed: Routed, runtime: Callable[[], Awaitable[Runtime]], durability: Durability
) -> PublishedEvent:
    """Return what became of an event."""
    copies: dict[str, Handle[Any]] = {}
    errors: dict[str, OutlastError] = {}
    for copy in routed.copies:
        message = _message(event, copy)
        if isinstance(copy.answer, Accepted | Exists):
            copies[copy.queue] = Handle.of(message, copy.answer, runtime, durability)
        elif (refusal := refused(message, copy.answer, lambda *_: True)) is not None:
            errors[copy.queue] = refusal.error
    return PublishedEvent(
        id=event.id,
        exchange=event.exchange,
        durability=durability,
        copies=copies,
        refused=errors,
        kept=routed.kept,
        native=routed.native,
    )


def incomplete(event: ExchangeEvent, result: PublishedEvent) -> OutlastError | None:
    """Return the error of an event of which a copy, or the only one, is not stored; None if all are."""
    if result.refused:
        return EventIncomplete(event.exchange, event.id, result.refused, result)
    if not result.copies and not result.native:
        return EventUnroutable(event.exchange, event.key, event.id)
    return None
