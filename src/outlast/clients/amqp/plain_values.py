"""What a value of a field table is in JSON: for readers that know text, numbers, lists and objects only."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from outlast.clients.amqp.table import AmqpDecimal, AmqpTimestamp, FieldValue

__all__ = ["PlainValue", "plain_value"]

PlainValue = None | bool | int | float | str | list["PlainValue"] | dict[str, "PlainValue"]
"""A value that JSON has, but for the floats that are no numbers."""


def plain_value(value: FieldValue) -> PlainValue:
    """Return what the value is in JSON.

    A timestamp is the number of its seconds. A decimal is text ("1.50"), since a JSON number loses digits in many
    readers; its sign is that of `AmqpDecimal.value`. Octets are text in base64 (RFC 4648, 4).
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, AmqpTimestamp):
        return value.seconds
    if isinstance(value, AmqpDecimal):
        return format(value.value(), "f")
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: plain_value(each) for name, each in value.items()}
    return [plain_value(each) for each in value]
