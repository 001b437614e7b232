"""The properties of a message of AMQP 0-9-1: bytes to values and back (the specification, 4.2.6.1)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import astuple

from outlast.clients.amqp.table import FieldValue, TableError, encode_table, read_table, short_text, table_end, utf8

__all__ = ["MessageProperties", "UnreadableHeaders", "decode_properties", "encode_properties"]


class MessageProperties(Struct, frozen=True, kw_only=True):
    """The properties of a message; None, or no headers: not set.

    delivery_mode: 2 is persistent. expiration: milliseconds, as text. timestamp: seconds since 1970 (some clients send
    milliseconds). user_id: checked by RabbitMQ.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, FieldValue] = {}
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


class UnreadableHeaders(TableError):
    """The headers of a message cannot be read, but its other properties can."""

    def __init__(self, reason: str, properties: MessageProperties) -> None:
        super().__init__(reason)
        self.properties = properties


_Form = Literal["text", "octet", "timestamp", "table"]
_FORMS: Final[dict[str, _Form]] = {
    "content_type": "text",
    "content_encoding": "text",
    "headers": "table",
    "delivery_mode": "octet",
    "priority": "octet",
    "correlation_id": "text",
    "reply_to": "text",
    "expiration": "text",
    "message_id": "text",
    "timestamp": "timestamp",
    "type": "text",
    "user_id": "text",
    "app_id": "text",
    "cluster_id": "text",
}
"""In the order of the protocol: the first has the highest of the 16 flags, the two lowest flags have no property."""
_PLAN: Final = tuple((name, 1 << (15 - place), form) for place, (name, form) in enumerate(_FORMS.items()))
_flags = struct.Struct(">H")
_timestamp = struct.Struct(">Q")


def decode_properties(data: bytes) -> MessageProperties:
    """Return the properties that these bytes are: a content header without its first 12 bytes.

    Raise UnreadableHeaders when all but the headers can be read, else TableError.
    """
    values: dict[str, Any] = {}
    unreadable: TableError | None = None
    try:
        at = 2
        for name, form in _present(_flags.unpack_from(data)[0]):
            if form == "text":
                values[name], at = short_text(data, at)
            elif form == "octet":
                values[name] = data[at]
                at += 1
            elif form == "timestamp":
                (values[name],) = _timestamp.unpack_from(data, at)
                at += 8
            else:
                after = table_end(data, at)
                try:
                    values[name], _ = read_table(data, at)
                except TableError as error:
                    unreadable = error
                at = after
    except (struct.error, IndexError):
        raise TableError("the properties are cut") from None
    except UnicodeDecodeError:
        raise TableError("a property is not UTF-8") from None
    if at != len(data):
        raise TableError(
            "the properties are cut" if at > len(data) else f"{len(data) - at} bytes follow the properties"
        )
    properties = MessageProperties(**values)
    if unreadable is not None:
        raise UnreadableHeaders(f"headers: {unreadable}", properties)
    return properties


@lru_cache(maxsize=256)
def _present(flags: int) -> tuple[tuple[str, _Form], ...]:
    if flags & 3:
        raise TableError(f"the flags 0x{flags:04x} name properties that AMQP 0-9-1 has not")
    return tuple((name, form) for name, flag, form in _PLAN if flags & flag)


def encode_properties(properties: MessageProperties) -> bytes:
    """Return the properties as bytes. Raise TableError, with the name of the property, for what AMQP cannot say."""
    out = bytearray(2)
    flags = 0
    for (name, flag, form), value in zip(_PLAN, astuple(properties), strict=True):
        if value is None:
            continue
        if form == "text":
            octets = utf8(value)
            if len(octets) > 255:
                raise TableError(f"{name}: {len(octets)} bytes in UTF-8: at most 255 are possible")
            out.append(len(octets))
            out += octets
        elif form == "table":
            if not value:
                continue
            out += encode_table(value)
        else:
            out += _number(name, value, 1 if form == "octet" else 8)
        flags |= flag
    _flags.pack_into(out, 0, flags)
    return bytes(out)


def _number(name: str, value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise TableError(f"{name}: {value} is out of range: 0 to {(1 << 8 * size) - 1}") from None
