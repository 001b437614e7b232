"""What becomes of a message that AMQP cannot carry: a dead letter with all of it that can be carried; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import structs

from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.properties import MessageProperties, encode_properties
from outlast.clients.amqp.table import FieldValue, TableError, encode_table

__all__ = ["letter_instead", "plain_text_of"]

_MOST_HEADERS: Final = 90_000
"""Bytes of the headers that are kept; a frame has 128 KiB unless the server is configured otherwise."""
_MOST_TEXT: Final = 255
"""Bytes of a property that is text."""
_MOST_REASON: Final = 4000
_BARE_REASON: Final = 300
"""Characters of the reason of a letter without other headers: it fits into the smallest frame, of 4096 bytes."""
_OF_BARE: Final = ("content_type", "delivery_mode", "message_id", "type")


def letter_instead(message: AmqpMessage, why: str, *, bare: bool) -> AmqpMessage:
    """Return the dead letter that takes the place of a message which cannot be sent because of `why`.

    It has the body, and of the properties and headers those that AMQP can carry, text cut where it must be. bare: only
    id and kind are kept, since even the whole letter is too large for a frame of the server.
    """
    kept, lacking = _carried(message.properties)
    if bare:
        kept = MessageProperties(**{name: getattr(kept, name) for name in _OF_BARE})
        headers: dict[str, FieldValue] = {}
        reason = f"it cannot be sent: {why}"[:_BARE_REASON]
    else:
        headers = dict(kept.headers)
        left_out = f" (left out or cut: {', '.join(lacking)})" if lacking else ""
        first = headers.get("outlast-reason")
        before = f"{first}; " if isinstance(first, str) else ""
        reason = f"{before}it cannot be sent: {why}{left_out}"[:_MOST_REASON]
    headers |= {"outlast-state": "dead", "outlast-reason": plain_text_of(reason)}
    # The server checks the user, and drops the message when its expiration is over.
    properties = structs.replace(kept, headers=headers, delivery_mode=2, user_id=None, expiration=None)
    return AmqpMessage("", dead_queue(message.key.partition(".")[0]), message.body, properties)


def plain_text_of(text: str) -> str:
    r"""Return text that UTF-8 can hold: half of a surrogate pair becomes its escape, `\ud800`."""
    return text.encode("utf-8", "backslashreplace").decode()


def _carried(properties: MessageProperties) -> tuple[MessageProperties, list[str]]:
    """Return of properties those that can be carried, and the names of those that are left out or cut."""
    values: dict[str, Any] = {}
    lacking: list[str] = []
    for name in MessageProperties.__struct_fields__:
        value = getattr(properties, name)
        if isinstance(value, str):
            values[name] = _short(value)
        elif name == "headers":
            values[name] = dict(_headers(value))
            lacking += [f"header {plain_text_of(str(each)[:64])!r}" for each in value if each not in values[name]]
        else:
            values[name] = value if _fits(name, value) else None
        if name != "headers" and values[name] != value:
            lacking.append(name)
    return MessageProperties(**values), lacking


def _short(text: str) -> str:
    return plain_text_of(text).encode()[:_MOST_TEXT].decode(errors="ignore")


def _fits(name: str, value: Any) -> bool:
    try:
        encode_properties(MessageProperties(**{name: value}))
    except (TableError, AttributeError):
        return False
    return True


def _headers(headers: Mapping[str, FieldValue]) -> Iterator[tuple[str, FieldValue]]:
    """Yield the headers that can be carried, Outlast's own first, as far as there is room."""
    room = _MOST_HEADERS
    for name in sorted(headers, key=lambda each: not str(each).startswith("outlast-")):
        value = headers[name]
        kept = plain_text_of(value) if isinstance(value, str) else value
        try:
            size = len(encode_table({name: kept}))
        except TableError:
            continue
        if size <= room:
            room -= size
            yield name, kept
