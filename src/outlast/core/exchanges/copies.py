"""The copies of an event: a message for each bound queue, with an id that the event and the queue determine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from outlast.core.bounds import LAST_MOMENT
from outlast.core.exchanges.checks import EVENT_HEADERS_LIMIT, UNROUTABLE, header_text
from outlast.core.exchanges.values import Binding, Copy, ExchangeEvent, Routed
from outlast.core.kinds import name_of
from outlast.core.message import Message
from outlast.core.settlement import Published, TooLarge

__all__ = [
    "EVENT_HEADER",
    "EXCHANGE_HEADER",
    "KEY_HEADER",
    "COPY_ROOM",
    "Copies",
    "copies_of",
    "copy_id",
    "event_of_job",
    "headers_of",
    "refused_size",
    "unroutable_queue",
]

EXCHANGE_HEADER: Final = "outlast-exchange"
KEY_HEADER: Final = "outlast-key"
EVENT_HEADER: Final = "outlast-event"
"""The headers of each copy: the exchange, the routing key and the id of its event."""
NAMESPACE: Final = UUID("5b6f1d43-9c0e-5d0a-8c55-1f2a4f0d7e11")
"""Part of the id of every copy: another value would give copies of known events other ids."""

COPY_ROOM: Final = 12 * EVENT_HEADERS_LIMIT + 4096
"""The most bytes that the arguments of a copy have beside the event: the name of the argument, or key and headers."""

_VARIANT: Final = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
_encode: Final = msgspec.json.Encoder().encode


class Copies(Struct, frozen=True):
    """The messages that one event becomes, and whether the one is for the queue that keeps what no binding takes."""

    messages: Sequence[Message] = ()
    kept: bool = False

    def routed(self, answers: Iterable[Published]) -> Routed:
        """Return what became of the event. answers: of the store, one for each message."""
        pairs = zip(self.messages, answers, strict=True)
        copies = tuple(Copy(message.queue, message.id, answer, message.kind) for message, answer in pairs)
        return Routed(copies, self.kept)


def copy_id(exchange: str, event: str, queue: str) -> str:
    """Return the id of the job that is the copy of an event for a queue: a UUIDv5 (RFC 9562) after the queue's name."""
    return _copy_id(_namespace(exchange, event), queue)


def event_of_job(job: str, exchange: str, key: str, number: int) -> str:
    """Return the id of an event that a run of a job publishes: a UUIDv5 (RFC 9562), the same in each run.

    number: of the events of the run with this exchange and key, from 0.
    """
    name = f"{len(job)} {job} {exchange} {number} {key}"  # no two become one, whatever is in an id and a key
    return _uuid5(NAMESPACE.bytes, name.encode(errors="surrogatepass"))  # such a key is refused by its check


def _namespace(exchange: str, event: str) -> bytes:
    return bytes.fromhex(_uuid5(NAMESPACE.bytes, f"{exchange}/{event}".encode()))


def _copy_id(namespace: bytes, queue: str) -> str:
    return f"{queue}.{_uuid5(namespace, queue.encode())}"


def _uuid5(namespace: bytes, name: bytes) -> str:
    """Return what uuid.uuid5 gives as hex, in a fifth of its time.

    The 13th digit of the SHA-1 hash is replaced by the version, two bits of the 17th by the variant.
    """
    digits = sha1(namespace + name, usedforsecurity=False).hexdigest()
    return f"{digits[:12]}5{digits[13:16]}{_VARIANT[digits[16]]}{digits[17:32]}"


def refused_size(message: Message, max_body: int) -> TooLarge | None:
    """Return the answer to a message whose body is larger than `max_body` bytes, else None.

    Of a copy the body is the event: the publisher has measured it, and each handler calls its argument as it likes.
    """
    size = len(message.args)
    if size <= max_body or (EVENT_HEADER in (message.headers or ()) and size <= max_body + COPY_ROOM):
        return None
    return TooLarge(size, max_body)


def unroutable_queue(exchange: str) -> str:
    """Return the name of the queue, and of the kind of its jobs, that keeps the events which no binding takes."""
    return exchange + UNROUTABLE


def headers_of(event: ExchangeEvent) -> dict[str, str]:
    """Return the headers of each copy: those of the event as text, JSON for a value that is not text, and ours."""
    headers = {name: header_text(value) for name, value in event.headers.items()}
    headers |= {EXCHANGE_HEADER: event.exchange, KEY_HEADER: event.key, EVENT_HEADER: event.id}
    return headers


def copies_of(event: ExchangeEvent, bindings: Sequence[Binding], *, keep: bool) -> Copies:
    """Return the copies of an event. bindings: those that take it, one for each queue (`Router.route`).

    A publisher that declares the job of a queue itself makes its copy as its own release would enqueue the job: the
    event has the form that this release knows, whichever release has declared the stored binding last.
    keep: an event that no binding takes becomes a job in the queue that keeps these, with its key and its headers as
    arguments.
    """
    if not bindings:
        return Copies([_kept(event)], kept=True) if keep else Copies()
    namespace, headers = _namespace(event.exchange, event.id), headers_of(event)
    bodies: dict[str, Raw] = {}
    messages: list[Message] = []
    for stored in bindings:
        queue = stored.queue
        binding = _as_published(event, stored)
        body = bodies.get(binding.parameter)
        if body is None:
            body = bodies[binding.parameter] = _arguments({binding.parameter: event.body})
        messages.append(
            Message(
                id=_copy_id(namespace, queue),
                queue=queue,
                kind=binding.kind,
                args=body,
                enqueued_at=event.at,
                run_at=event.at,
                priority=binding.priority,
                expires_at=event.expires_at if binding.expires is None else _expiry(event, binding.expires),
                headers=headers,
                redacted=(binding.parameter,) if event.redacted or stored.redacted or binding.redacted else (),
            )
        )
    return Copies(messages)


def _as_published(event: ExchangeEvent, stored: Binding) -> Binding:
    """Return the binding as the publisher's release declares it, the stored one if it does not know the job.

    The publisher may know the job by a former name, when a newer release has stored the binding last.
    """
    for name in (name_of(stored.kind), *stored.aliases):
        if (own := event.own.get((stored.queue, name))) is not None:
            return own
    return stored


def _expiry(event: ExchangeEvent, expires: float) -> float:
    at = min(event.at + expires, LAST_MOMENT)
    return at if event.expires_at is None else min(at, event.expires_at)


def _kept(event: ExchangeEvent) -> Message:
    queue = unroutable_queue(event.exchange)
    args = {"event": event.body, "key": Raw(_encode(event.key)), "headers": Raw(_encode(event.headers))}
    return Message(
        id=copy_id(event.exchange, event.id, queue),
        queue=queue,
        kind=queue,
        args=_arguments(args),
        enqueued_at=event.at,
        run_at=event.at,
        expires_at=event.expires_at,
        headers=headers_of(event),
        redacted=("event",) if event.redacted else (),
    )


def _arguments(args: Mapping[str, Raw]) -> Raw:
    return Raw(_encode(args))
