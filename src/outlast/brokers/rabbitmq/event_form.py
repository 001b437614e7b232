"""An event as a message of AMQP (docs/bridge.md, "Events on AMQP"), and a message of AMQP as the copy of an event.

A foreign publisher needs nothing of ours: the body is JSON, and everything else may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Raw

from outlast.brokers.rabbitmq.job_form import Malformed, added_by_server
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.plain_values import plain_value
from outlast.clients.amqp.properties import MessageProperties
from outlast.clients.amqp.table import AmqpTimestamp, FieldValue, TableError
from outlast.core.bounds import HEADERS_LIMIT, LAST_MOMENT
from outlast.core.codec import check, check_args
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.exchanges.checks import RESERVED, header_text
from outlast.core.exchanges.copies import EVENT_HEADER, EXCHANGE_HEADER, KEY_HEADER, copies_of, unroutable_queue
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent, HeaderValue
from outlast.core.ids import CLIENT_ID, fits
from outlast.core.message import Message
from outlast.core.text import shown

__all__ = ["EVENT_EXPIRES", "EventReader", "event_message"]

JSON: Final = "application/json"
PERSISTENT: Final = 2
EVENT_EXPIRES: Final = "outlast-expires-at"
"""The header of the latest start of each copy, wall time in seconds: the property `expiration` would make the server
drop the event."""
EVENT_REDACTED: Final = "outlast-redacted"
"""The header, true, of an event whose type says that it must not be shown."""
_REASON, _STATE = "outlast-reason", "outlast-state"
_OF_DEAD_LETTERS: Final = frozenset((_REASON, _STATE, EXCHANGE_HEADER, KEY_HEADER, EVENT_HEADER))
"""Headers of a dead letter: one that is moved back to its queue is the event that it was."""
_any: Final = msgspec.json.Decoder()


def event_message(event: ExchangeEvent) -> AmqpMessage:
    """Return the message that publishes an event."""
    headers: dict[str, FieldValue] = dict(event.headers)
    if event.expires_at is not None:
        headers[EVENT_EXPIRES] = event.expires_at
    if event.redacted:
        headers[EVENT_REDACTED] = True
    properties = MessageProperties(
        content_type=JSON,
        delivery_mode=PERSISTENT,
        message_id=event.id,
        timestamp=int(event.at),
        headers=headers,
    )
    return AmqpMessage(event.exchange, event.key, bytes(event.body), properties)


class EventReader:
    """Makes the copy of an event of each message that comes to a queue, by the bindings of one app.

    max_body: the most bytes of a body. new_id: makes the id of an event that has none, from the time.
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange],
        bindings: Iterable[Binding],
        *,
        max_body: int,
        new_id: Callable[[float], str],
    ) -> None:
        self._bindings: dict[tuple[str, str], Binding] = {}
        kinds: dict[str, dict[str, Binding]] = {}
        for each in bindings:
            self._bindings.setdefault((each.queue, each.exchange), each)
            kinds.setdefault(each.queue, {}).setdefault(each.kind, each)
        self._only = {queue: next(iter(found.values())) for queue, found in kinds.items() if len(found) == 1}
        self._keeping = {unroutable_queue(each.name): each.name for each in exchanges if each.unroutable == "keep"}
        self._max_body = max_body
        self._new_id = new_id

    def takes(self, delivery: AmqpDelivery, kind: str | None) -> bool:
        """Tell whether a message of a queue that carries jobs too is an event. kind: the property `type` of a job."""
        queue, exchange = delivery.queue, delivery.exchange
        if (queue, exchange) in self._bindings or (exchange and queue in self._keeping):
            return True
        return not kind and (queue in self._only or queue in self._keeping)

    def read(self, delivery: AmqpDelivery, now: float) -> Message:
        """Return the copy that a delivered message is; raise Malformed with the reason. now: wall time in seconds."""
        try:
            properties = delivery.properties()
        except TableError as error:
            raise Malformed(str(error)) from None
        headers = properties.headers
        exchange, key = delivery.exchange, delivery.key
        if _STATE in headers:  # a dead letter that was moved back
            exchange, key = _text(headers, EXCHANGE_HEADER, exchange), _text(headers, KEY_HEADER, key)
        binding = self._binding(delivery.queue, exchange)
        if binding is None:
            exchange = self._keeping[delivery.queue]
        event = ExchangeEvent(
            id=self._id(properties.message_id, now),
            exchange=exchange,
            key=key,
            body=self._body(delivery.body),
            at=_moment(properties.timestamp, now),
            headers=_event_headers(headers),
            expires_at=_expiry(headers),
            redacted=headers.get(EVENT_REDACTED) is True,
        )
        (message,) = copies_of(event, () if binding is None else (binding,), keep=True).messages
        try:
            check(message)
            check_args(message)
        except (ConfigurationError, InvalidArguments) as error:
            raise Malformed(str(error)) from None
        return message

    def _binding(self, queue: str, exchange: str) -> Binding | None:
        """Return the binding by which a message came; None for the queue that keeps what no binding takes."""
        found = self._bindings.get((queue, exchange))
        if found is None and queue in self._keeping:
            return None
        found = found or self._only.get(queue)
        if found is None:
            raise Malformed(
                f"it came by exchange {exchange!r}, which no job of queue {queue!r} is bound to, and the queue has "
                "several kinds of jobs: bind the queue to one exchange for each kind, or declare the binding"
            )
        return found

    def _id(self, message_id: str | None, now: float) -> str:
        if message_id is None:
            return self._new_id(now)
        if not fits(CLIENT_ID, message_id):
            raise Malformed(
                f"message_id={shown(message_id, 40)}: use 1 to 128 letters, digits or any of _ . : @ + = / -, or none"
            )
        return message_id

    def _body(self, body: bytes) -> Raw:
        """Return a body that is one value of JSON: it becomes a part of a larger one, which it must not break."""
        if len(body) > self._max_body:
            raise Malformed(f"a body of {len(body)} bytes, more than max_body={self._max_body}")
        try:
            _any.decode(body)
        except RecursionError:
            raise Malformed("the body is nested too deeply") from None
        except (UnicodeDecodeError, msgspec.DecodeError) as error:
            raise Malformed(f"the body is no JSON: {error}") from None
        return Raw(body.strip())


def _text(headers: Mapping[str, FieldValue], name: str, usual: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else usual


def _moment(timestamp: int | None, now: float) -> float:
    """Return when an event was published: not in the future, else its copy would wait; some clients send 0 for none."""
    if not timestamp:
        return now
    seconds = timestamp / 1000 if timestamp > LAST_MOMENT else float(timestamp)
    return min(seconds, now)


def _event_headers(headers: Mapping[str, FieldValue]) -> dict[str, HeaderValue]:
    """Return the headers of an event, each as text, a number, a bool or nothing; raise Malformed."""
    found: dict[str, HeaderValue] = {}
    for name, value in headers.items():
        if added_by_server(name) or name in _OF_DEAD_LETTERS or name in (EVENT_EXPIRES, EVENT_REDACTED):
            continue
        if name.startswith(RESERVED):
            raise Malformed(f"header {shown(name, 40)}: names that begin with {RESERVED!r} are reserved")
        plain = plain_value(value)
        found[name] = msgspec.json.encode(plain).decode() if isinstance(plain, list | dict) else plain
    if (size := sum(len(name) + len(header_text(value)) for name, value in found.items())) > HEADERS_LIMIT:
        raise Malformed(f"headers of {size} characters, more than {HEADERS_LIMIT}")
    return found


def _expiry(headers: Mapping[str, FieldValue]) -> float | None:
    value = headers.get(EVENT_EXPIRES)
    if value is None:
        return None
    number = value.seconds if isinstance(value, AmqpTimestamp) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= LAST_MOMENT:
        raise Malformed(f"header {EVENT_EXPIRES}={shown(value, 40)}: give seconds since 1970")
    return float(number)
