"""Field tables of AMQP 0-9-1, as RabbitMQ and its clients use them: bytes to values and back.

The tags are those of RabbitMQ (https://www.rabbitmq.com/amqp-0-9-1-errata.html, section 3), which differ from those of
the specification, and `L` and `U`, which some clients write. No value changes on the way in: a float stays a float, a
timestamp is never converted to a date, octets stay octets.
"""

from __future__ import annotations

import decimal
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from outlast.core.errors import OutlastError

__all__ = [
    "DEPTH_LIMIT",
    "TABLE_LIMIT",
    "AmqpDecimal",
    "AmqpTimestamp",
    "FieldValue",
    "TableError",
    "decode_table",
    "encode_table",
    "read_table",
    "short_text",
    "table_end",
    "utf8",
]

DEPTH_LIMIT: Final = 32
"""Tables and arrays within each other, the outermost counted."""
TABLE_LIMIT: Final = 1 << 20
"""Bytes of one table. RabbitMQ sends a table in one frame, of 128 KiB unless it is configured otherwise."""


class TableError(OutlastError, ValueError):
    """Bytes are no field table or no properties of a message, or a value has no form in AMQP; the text is the reason.

    Of bytes, the reason is short and fit for a dead letter.
    """


class AmqpTimestamp(Struct, frozen=True):
    """A point in time. seconds: since 1970, 0 to 2**64 - 1; some clients send milliseconds, which nothing marks."""

    seconds: int

    def datetime(self) -> datetime | None:
        """Return it in UTC; None when it is beyond the year 9999."""
        try:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)
        except OverflowError:
            return None


class AmqpDecimal(Struct, frozen=True):
    """A decimal number. places: digits after the point, 0 to 255; digits: all digits as a number, 0 to 2**32 - 1.

    Clients do not agree on its sign: pika and the clients for Java, Go and .NET read and write the 32 bits of `digits`
    as signed, amqplib and RabbitMQ as unsigned. `digits` is unsigned; choose with `value`.
    """

    places: int
    digits: int

    def value(self, *, signed: bool = True) -> decimal.Decimal:
        """Return the number, exactly."""
        digits = self.digits - (1 << 32) if signed and self.digits >> 31 else self.digits
        figures = tuple(int(figure) for figure in str(abs(digits)))
        return decimal.Decimal((int(digits < 0), figures, -self.places))


FieldValue = (
    None
    | bool
    | int
    | float
    | str
    | bytes
    | AmqpDecimal
    | AmqpTimestamp
    | Sequence["FieldValue"]
    | Mapping[str, "FieldValue"]
)
"""A value of a field table. Decoded arrays are lists, and tables are dicts. Text that is not UTF-8 is bytes."""

_TEXT, _OCTETS, _TABLE, _ARRAY = ord("S"), ord("x"), ord("F"), ord("A")
_VOID, _BOOL, _DECIMAL, _TIMESTAMP = ord("V"), ord("t"), ord("D"), ord("T")
_LENGTH = struct.Struct(">I")
_TAGGED_LENGTH = struct.Struct(">BI")
_read_length = _LENGTH.unpack_from
_NUMBERS: Final[dict[int, tuple[Callable[[bytes, int], tuple[Any, ...]], int]]] = {
    ord(tag): (struct.Struct(code).unpack_from, 1 + struct.calcsize(code))
    for tag, code in {
        "b": ">b",
        "B": ">B",
        "s": ">h",
        "U": ">h",
        "u": ">H",
        "I": ">i",
        "i": ">I",
        "l": ">q",
        "L": ">q",
        "f": ">f",
        "d": ">d",
    }.items()
}
"""By tag: how to read the number after it, and the bytes of both."""
_read_decimal = struct.Struct(">BI").unpack_from
_read_timestamp = struct.Struct(">Q").unpack_from
_int32 = struct.Struct(">Bi").pack
_int64 = struct.Struct(">Bq").pack
_double = struct.Struct(">Bd").pack
_decimal = struct.Struct(">BBI").pack
_timestamp = struct.Struct(">BQ").pack


def decode_table(data: bytes) -> dict[str, FieldValue]:
    """Return the table that these bytes are, its length included. Raise TableError when they are none.

    Of a name that occurs twice, the last value counts.
    """
    table, end = read_table(data, 0)
    if end != len(data):
        raise TableError(f"{len(data) - end} bytes follow the table")
    return table


def read_table(data: bytes, start: int) -> tuple[dict[str, FieldValue], int]:
    """Return the table that begins at `start`, and the position after it. Raise TableError when there is none."""
    end = table_end(data, start)
    try:
        return _read_fields(data, start + 4, end, 1), end
    except (struct.error, IndexError):
        raise TableError("a value ends beyond its table") from None
    except UnicodeDecodeError:
        raise TableError("a name in the table is not UTF-8") from None


def table_end(data: bytes, start: int) -> int:
    """Return the position after the table that begins at `start`. Raise TableError when there is none."""
    if start + 4 > len(data):
        raise TableError("the length of the table is cut")
    (length,) = _read_length(data, start)
    if length > TABLE_LIMIT:
        raise TableError(f"the table has {length} bytes: at most {TABLE_LIMIT} are read")
    if start + 4 + length > len(data):
        raise TableError(f"the table is cut: {len(data) - start - 4} of {length} bytes")
    return start + 4 + int(length)


def short_text(data: bytes, at: int) -> tuple[str, int]:
    """Return the short text (a length of one byte, then UTF-8) at `at`, and the position after it.

    Raise IndexError or UnicodeDecodeError. A text that is cut has a position beyond the data.
    """
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end


def _read_fields(data: bytes, at: int, end: int, depth: int) -> dict[str, FieldValue]:
    # A slice beyond the data is short, not an error: the position then lies beyond `end`, which is checked at last.
    table: dict[str, FieldValue] = {}
    while at < end:
        tag_at = at + 1 + data[at]
        name = data[at + 1 : tag_at].decode()
        if data[tag_at] == _TEXT:  # most headers: no call for them
            at = tag_at + 5 + _read_length(data, tag_at + 1)[0]
            octets = data[tag_at + 5 : at]
            try:
                table[name] = octets.decode()
            except UnicodeDecodeError:
                table[name] = octets
        else:
            table[name], at = _read_value(data, tag_at, depth)
    if at != end:
        raise TableError("a value ends beyond its table")
    return table


def _read_array(data: bytes, at: int, end: int, depth: int) -> list[FieldValue]:
    array: list[FieldValue] = []
    while at < end:
        value, at = _read_value(data, at, depth)
        array.append(value)
    if at != end:
        raise TableError("a value ends beyond its array")
    return array


def _read_value(data: bytes, at: int, depth: int) -> tuple[FieldValue, int]:
    tag = data[at]
    number = _NUMBERS.get(tag)
    if number is not None:
        read, size = number
        value: FieldValue = read(data, at + 1)[0]
        return value, at + size
    if tag in (_TEXT, _OCTETS):
        end = at + 5 + _read_length(data, at + 1)[0]
        octets = data[at + 5 : end]
        return (_text_or_octets(octets) if tag == _TEXT else octets), end
    if tag in (_TABLE, _ARRAY):
        if depth == DEPTH_LIMIT:
            raise TableError(f"tables and arrays within each other are deeper than {DEPTH_LIMIT}")
        end = at + 5 + _read_length(data, at + 1)[0]
        read_inner = _read_fields if tag == _TABLE else _read_array
        return read_inner(data, at + 5, end, depth + 1), end
    if tag == _BOOL:
        return data[at + 1] != 0, at + 2
    if tag == _VOID:
        return None, at + 1
    if tag == _TIMESTAMP:
        return AmqpTimestamp(*_read_timestamp(data, at + 1)), at + 9
    if tag == _DECIMAL:
        return AmqpDecimal(*_read_decimal(data, at + 1)), at + 6
    raise TableError(f"a value has the unknown type 0x{tag:02x}")


def _text_or_octets(octets: bytes) -> str | bytes:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets


def encode_table(table: Mapping[str, FieldValue]) -> bytes:
    """Return the table as bytes, its length included. Raise TableError for what AMQP cannot say.

    An integer takes 32 bits, or 64 where it needs them; a float takes 64. RabbitMQ closes a connection that sends NaN
    or an infinity: they are refused.
    """
    out = bytearray(4)
    _write_fields(out, table, 1)
    _LENGTH.pack_into(out, 0, _checked_size(out) - 4)
    return bytes(out)


def _write_fields(out: bytearray, table: Mapping[str, FieldValue], depth: int) -> None:
    for name, value in table.items():
        octets = utf8(name)
        if len(octets) > 255:
            raise TableError(f"the name {name[:32]!r}... has {len(octets)} bytes in UTF-8: at most 255 are possible")
        out.append(len(octets))
        out += octets
        if type(value) is str:
            _write_octets(out, _TEXT, utf8(value))
        else:
            _write_value(out, value, depth, name)


def _write_value(out: bytearray, value: FieldValue, depth: int, name: str) -> None:
    if isinstance(value, str):
        _write_octets(out, _TEXT, utf8(value))
    elif value is None:
        out.append(_VOID)
    elif isinstance(value, bool):
        out += b"t\1" if value else b"t\0"
    elif isinstance(value, int):
        out += _integer(value, name)
    elif isinstance(value, float):
        if value - value != 0.0:
            raise TableError(f"{name}: {value} cannot be sent to RabbitMQ: send it as text")
        out += _double(ord("d"), value)
    elif isinstance(value, bytes | bytearray | memoryview):
        _write_octets(out, _OCTETS, bytes(value))
    elif isinstance(value, AmqpTimestamp | AmqpDecimal):
        try:
            if isinstance(value, AmqpTimestamp):
                out += _timestamp(_TIMESTAMP, value.seconds)
            else:
                out += _decimal(_DECIMAL, value.places, value.digits)
        except struct.error:
            raise TableError(f"{name}: {value} is out of range") from None
    else:
        _write_nested(out, value, depth, name)


def _write_nested(
    out: bytearray, value: Mapping[str, FieldValue] | Sequence[FieldValue], depth: int, name: str
) -> None:
    if depth == DEPTH_LIMIT:
        raise TableError(f"{name}: tables and arrays within each other are deeper than {DEPTH_LIMIT}")
    start = _checked_size(out)  # here too, since a value that is nested in many places has a size beyond all bounds
    if isinstance(value, Mapping):
        out += b"F\0\0\0\0"
        _write_fields(out, value, depth + 1)
    elif isinstance(value, Sequence):
        out += b"A\0\0\0\0"
        for each in value:
            _write_value(out, each, depth + 1, name)
    else:
        raise TableError(f"{name}: a {type(value).__name__} has no form in AMQP: send it as text")
    _LENGTH.pack_into(out, start + 1, len(out) - start - 5)


def _write_octets(out: bytearray, tag: int, octets: bytes) -> None:
    out += _TAGGED_LENGTH.pack(tag, len(octets))
    out += octets


def _integer(value: int, name: str) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return _int32(ord("I"), value)
    if -(1 << 63) <= value < 1 << 63:
        return _int64(ord("l"), value)
    raise TableError(f"{name}: an integer beyond 64 bits has no form in AMQP: send it as text")


def utf8(text: str) -> bytes:
    """Return the text in UTF-8. Raise TableError when it has none."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise TableError(f"{text[:32]!r} is not Unicode text: it has half of a surrogate pair") from None
    except AttributeError:
        raise TableError(f"the name {text!r} in a table must be text") from None


def _checked_size(out: bytearray) -> int:
    if len(out) > TABLE_LIMIT:
        raise TableError(f"the table has more than {TABLE_LIMIT} bytes")
    return len(out)
