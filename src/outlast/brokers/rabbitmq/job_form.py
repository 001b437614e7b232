"""A job as a message of AMQP (docs/wire-format.md, "On AMQP"), and a message of AMQP as a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from outlast.brokers.rabbitmq.unsendable import plain_text_of
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.plain_values import plain_value
from outlast.clients.amqp.properties import MessageProperties
from outlast.clients.amqp.table import AmqpTimestamp, FieldValue, TableError, encode_table
from outlast.core.bounds import LAST_MOMENT
from outlast.core.codec import are_plain, check, check_args
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.ids import job_id
from outlast.core.message import Failure, Message
from outlast.core.text import shown
from outlast.core.unique import Unique

__all__ = [
    "Malformed",
    "RESERVED",
    "TakenJob",
    "added_by_server",
    "dead_properties",
    "job_properties",
    "kept_properties",
    "read_job",
    "returns_of",
]

JSON: Final = "application/json"
PERSISTENT: Final = 2
_LEAST_MILLIS: Final = LAST_MOMENT
"""A timestamp above it is one of milliseconds, as some clients send it."""
_RETURNS: Final = "x-delivery-count"
"""How often the server took a message back."""
_OF_SERVER: Final = ("x-death", "x-first-death-", "x-last-death-", _RETURNS, "x-acquired-count")
"""How the headers begin that the server adds. Sent again, they would make it take a new message for an old one."""
_OF_ROUTING: Final = frozenset(("CC", "BCC"))
"""Headers by which the server sends a message to more queues."""
_MOST_HEADERS: Final = 90_000
"""Bytes of the headers of others in a dead letter; a frame has 128 KiB unless the server is configured otherwise."""
_MOST_TEXT: Final = 4000
"""Characters of a reason, an error or a traceback in a dead letter: all headers must fit in one frame."""


class Malformed(Exception):
    """A message is no job; the text is the reason for its dead letter."""


class TakenJob(Struct, frozen=True):
    """A job as it was delivered. not_before: wall time before which it must wait again; returns: by the server."""

    message: Message
    attempt: int = 1
    crashes: int = 0
    begun: bool = False
    not_before: float = 0.0
    returns: int = 0


def job_properties(
    message: Message, *, attempt: int = 1, crashes: int = 0, begun: bool = False, not_before: float = 0.0
) -> MessageProperties:
    """Return the properties of a job; its body is `message.args`. What has its usual value is left out."""
    headers: dict[str, FieldValue] = dict(message.headers or {})
    if attempt != 1:
        headers["outlast-attempt"] = attempt
    if crashes:
        headers["outlast-crashes"] = crashes
    if begun:
        headers["outlast-begun"] = True
    if not_before:
        headers["outlast-not-before"] = not_before
    enqueued_at = message.enqueued_at
    if enqueued_at != int(enqueued_at):
        headers["outlast-enqueued-at"] = enqueued_at
    if message.run_at != enqueued_at:
        headers["outlast-run-at"] = message.run_at
    if message.expires_at is not None:
        headers["outlast-expires-at"] = message.expires_at
    if message.redacted:
        headers["outlast-redacted"] = list(message.redacted)
    return MessageProperties(
        content_type=JSON,
        delivery_mode=PERSISTENT,
        message_id=message.id,
        timestamp=int(enqueued_at),
        type=message.kind,
        headers=headers,
    )


def dead_properties(
    message: Message, state: str, reason: str, attempt: int, error: Failure | None
) -> MessageProperties:
    """Return the properties of the dead letter of a job; its body is that of the job."""
    properties = job_properties(message, attempt=attempt)
    told: dict[str, FieldValue] = {"outlast-state": state, "outlast-reason": plain_text_of(reason[:_MOST_TEXT])}
    if error is not None:
        told["outlast-error"] = plain_text_of(f"{error.type}: {error.message}"[:_MOST_TEXT])
        if error.traceback:
            told["outlast-traceback"] = plain_text_of(error.traceback[-_MOST_TEXT:])
    return msgspec.structs.replace(properties, headers={**properties.headers, **told})


def kept_properties(delivery: AmqpDelivery, reason: str) -> MessageProperties:
    """Return the properties of the dead letter of a message that is no job: its own, as far as they can be read."""
    try:
        properties = delivery.properties()
    except TableError as error:
        properties = getattr(error, "properties", MessageProperties())
    told: dict[str, FieldValue] = {"outlast-state": "dead", "outlast-reason": reason[:_MOST_TEXT]}
    if delivery.exchange:
        told |= {"outlast-exchange": delivery.exchange, "outlast-key": delivery.key}
    own = {name: value for name, value in properties.headers.items() if not added_by_server(name)}
    if not _fits(own):
        own = {}
    # The server checks the user, and drops the message when its expiration is over; the rest it does not read.
    return msgspec.structs.replace(
        properties, headers=own | told, delivery_mode=PERSISTENT, user_id=None, expiration=None, cluster_id=None
    )


def _fits(headers: Mapping[str, FieldValue]) -> bool:
    """Tell whether headers can be sent again beside ours: in one frame, and in types that can be sent."""
    try:
        return len(encode_table(headers)) <= _MOST_HEADERS
    except TableError:
        return False


def read_job(delivery: AmqpDelivery, now: float, new_id: Callable[[str], str], max_body: int) -> TakenJob:
    """Return the job that a delivered message is; raise Malformed.

    now: wall time; new_id: makes an id for a queue; max_body: the most bytes of the body.
    """
    try:
        properties = delivery.properties()
    except TableError as error:
        raise Malformed(str(error)) from None
    kind = properties.type
    if not kind:
        raise Malformed("no kind: set the property 'type' to the kind of the job")
    if len(delivery.body) > max_body:
        raise Malformed(f"a body of {len(delivery.body)} bytes: at most max_body={max_body} are taken")
    fields, headers = _split(properties.headers)
    queue = delivery.queue
    enqueued_at = fields.get("enqueued_at", _seconds(properties.timestamp, now))
    try:
        message = Message(
            id=new_id(queue) if properties.message_id is None else _full_id(queue, properties.message_id),
            queue=queue,
            kind=kind,
            args=Raw(delivery.body),
            enqueued_at=enqueued_at,
            run_at=fields.get("run_at", enqueued_at),
            priority=fields.get("priority", "normal"),
            key=fields.get("key"),
            unique=fields.get("unique"),
            expires_at=fields.get("expires_at"),
            max_wait=fields.get("max_wait"),
            headers=headers or None,
            redacted=fields.get("redacted", ()),
        )
        if not are_plain((message,)):
            check(message)
            check_args(message)
    except (ConfigurationError, InvalidArguments) as error:
        raise Malformed(str(error)) from None
    returns = returns_of(properties.headers)
    return TakenJob(
        message,
        fields.get("attempt", 1),
        fields.get("crashes", 0) + returns,
        fields.get("begun", False) or returns > 0,
        fields.get("not_before", 0.0),
        returns,
    )


def returns_of(headers: Mapping[str, FieldValue]) -> int:
    """Return how often the server has taken a message back from a consumer."""
    returns = headers.get(_RETURNS, 0)
    return returns if type(returns) is int and returns > 0 else 0


def _full_id(queue: str, message_id: str) -> str:
    """Return a job's id: with its queue, which a client may leave out if there is no dot in the rest."""
    return message_id if "." in message_id else job_id(queue, message_id)


def _seconds(timestamp: int | None, now: float) -> float:
    """Return the time of a property in seconds; `now` if it is not set, or no time that a job can have."""
    if timestamp is None:
        return now
    found = timestamp / 1000 if timestamp > _LEAST_MILLIS else float(timestamp)
    return found if found <= LAST_MOMENT else now


def _split(headers: Mapping[str, FieldValue]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the fields of the job that are headers, and the headers for the handler: text as it is, others as JSON.

    Raise Malformed for a field of the wrong type.
    """
    fields: dict[str, Any] = {}
    others: dict[str, str] = {}
    for name, value in headers.items():
        known = _READ.get(name)
        if known is not None:
            fields[known[0]] = known[1](name, value)
        elif name != _RETURNS and not added_by_server(name):
            others[name] = value if type(value) is str else _text_of(value)
    return fields, others


def added_by_server(name: str) -> bool:
    """Tell whether a header is the server's own: of dead letters, of deliveries and of further routing keys."""
    return name.startswith(_OF_SERVER) or name in _OF_ROUTING


def _text_of(value: FieldValue) -> str:
    plain = plain_value(value)
    return plain if type(plain) is str else msgspec.json.encode(plain).decode()


def _count(name: str, value: FieldValue) -> int:
    if type(value) is not int or not 0 <= value <= 1 << 31:
        raise Malformed(f"header {name}={shown(value)}: give a whole number, 0 or more")
    return value


def _attempt(name: str, value: FieldValue) -> int:
    if value == 0:
        raise Malformed(f"header {name}=0: the first attempt is 1")
    return _count(name, value)


def _number(name: str, value: FieldValue) -> float:
    if isinstance(value, AmqpTimestamp):
        return float(value.seconds)
    if type(value) not in (int, float):
        raise Malformed(f"header {name}={shown(value)}: give a number")
    return float(value)  # type: ignore[arg-type]


def _text(name: str, value: FieldValue) -> str:
    if type(value) is not str:
        raise Malformed(f"header {name}={shown(value)}: give text")
    return value


def _switch(name: str, value: FieldValue) -> bool:
    if type(value) is not bool:
        raise Malformed(f"header {name}={shown(value)}: give true or false")
    return value


def _names(name: str, value: FieldValue) -> tuple[str, ...]:
    if not isinstance(value, list) or any(type(each) is not str for each in value):
        raise Malformed(f"header {name}={shown(value)}: give an array of text")
    return tuple(value)


def _unique(name: str, value: FieldValue) -> Unique:
    try:
        return msgspec.json.decode(_text(name, value), type=Unique)
    except (msgspec.DecodeError, ConfigurationError) as error:
        raise Malformed(f"header {name}: give a JSON object, as the field 'unique' is: {error}") from None


_READ: Final[Mapping[str, tuple[str, Callable[[str, FieldValue], Any]]]] = {
    "outlast-attempt": ("attempt", _attempt),
    "outlast-crashes": ("crashes", _count),
    "outlast-begun": ("begun", _switch),
    "outlast-not-before": ("not_before", _number),
    "outlast-enqueued-at": ("enqueued_at", _number),
    "outlast-run-at": ("run_at", _number),
    "outlast-expires-at": ("expires_at", _number),
    "outlast-priority": ("priority", _text),
    "outlast-job-key": ("key", _text),
    "outlast-unique": ("unique", _unique),
    "outlast-max-wait": ("max_wait", _number),
    "outlast-redacted": ("redacted", _names),
}
"""By the name of the header, the field of the job and how its value is read."""
RESERVED: Final = frozenset(_READ)
