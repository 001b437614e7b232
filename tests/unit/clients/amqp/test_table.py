"""Field tables: each value arrives as it was sent, and bytes that are no table are refused with a reason."""

from __future__ import annotations

import decimal
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika.data import decode_table as decode_by_pika

from outlast.clients.amqp.table import (
    DEPTH_LIMIT,
    TABLE_LIMIT,
    AmqpDecimal,
    AmqpTimestamp,
    FieldValue,
    TableError,
    decode_table,
    encode_table,
)
from tests.support.amqp_tables import TABLES, a_field, as_table, long, nested


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in type too: 1 is not True, 1.0 is not 1, -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    return bool(one == other)


@given(TABLES)
def test_what_is_encoded_is_decoded_unchanged(table: dict[str, FieldValue]) -> None:
    assert same(decode_table(encode_table(table)), table)


@pytest.mark.parametrize(
    ("tag", "octets", "value"),
    [
        ("t", b"\0", False),
        ("t", b"\1", True),
        ("t", b"\2", True),
        ("b", b"\x80", -128),
        ("B", b"\x80", 128),
        ("s", b"\x80\0", -32768),
        ("U", b"\x80\0", -32768),
        ("u", b"\x80\0", 32768),
        ("I", b"\x80\0\0\0", -(2**31)),
        ("i", b"\x80\0\0\0", 2**31),
        ("l", b"\x80" + bytes(7), -(2**63)),
        ("L", b"\xff" * 8, -1),
        ("f", struct.pack(">f", 1.5), 1.5),
        ("f", struct.pack(">f", math.inf), math.inf),
        ("d", struct.pack(">d", 1.5), 1.5),
        ("d", struct.pack(">d", 2.0), 2.0),
        ("D", b"\2\0\0\0\x96", AmqpDecimal(2, 150)),
        ("D", b"\1\xff\xff\xff\xf1", AmqpDecimal(1, 4294967281)),
        ("T", struct.pack(">Q", 1_700_000_000), AmqpTimestamp(1_700_000_000)),
        ("T", b"\xff" * 8, AmqpTimestamp(2**64 - 1)),
        ("S", long("ü".encode()), "ü"),
        ("S", long(b"\xff"), b"\xff"),
        ("x", long(b"hi"), b"hi"),
        ("A", long(b"t\1V"), [True, None]),
        ("F", long(b"\1at\1"), {"a": True}),
        ("V", b"", None),
    ],
)
def test_each_type_of_rabbitmq_is_read(tag: str, octets: bytes, value: FieldValue) -> None:
    assert same(decode_table(as_table(a_field(tag, octets))), {"k": value})


@given(TABLES)
def test_another_codec_reads_the_same_names_and_texts(table: dict[str, FieldValue]) -> None:
    texts = {name: value for name, value in table.items() if isinstance(value, str | bool | bytes)}
    assert decode_by_pika(encode_table(texts), 0)[0] == texts


def test_a_date_is_only_made_of_a_timestamp_in_range() -> None:
    assert AmqpTimestamp(1_700_000_000).datetime() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert AmqpTimestamp(253_402_300_799).datetime() == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert AmqpTimestamp(253_402_300_800).datetime() is None
    assert AmqpTimestamp(2**64 - 1).datetime() is None


def test_the_sign_of_a_decimal_is_for_the_reader_to_choose() -> None:
    assert AmqpDecimal(2, 150).value() == decimal.Decimal("1.50")
    assert str(AmqpDecimal(2, 150).value(signed=False)) == "1.50"
    assert AmqpDecimal(1, 4294967281).value() == decimal.Decimal("-1.5")
    assert AmqpDecimal(1, 4294967281).value(signed=False) == decimal.Decimal("429496728.1")
    assert AmqpDecimal(255, 2**32 - 1).value(signed=False) == decimal.Decimal("4294967295E-255")


def test_of_a_name_that_occurs_twice_the_last_value_counts() -> None:
    assert decode_table(as_table(a_field("t", b"\0"), a_field("t", b"\1"))) == {"k": True}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0", "the length of the table is cut"),
        (b"\0\0\0\5ab", "the table is cut: 2 of 5 bytes"),
        (struct.pack(">I", TABLE_LIMIT + 1), f"the table has {TABLE_LIMIT + 1} bytes: at most {TABLE_LIMIT} are read"),
        (as_table() + b"x", "1 bytes follow the table"),
        (as_table(a_field("Z", b"")), "a value has the unknown type 0x5a"),
        (as_table(b"\1\xfft\0"), "a name in the table is not UTF-8"),
        (as_table(b"\1k"), "a value ends beyond its table"),
        (as_table(b"\7k"), "a value ends beyond its table"),
        (as_table(a_field("l", b"\0")), "a value ends beyond its table"),
        (as_table(a_field("S", struct.pack(">I", 2**32 - 1))), "a value ends beyond its table"),
        (as_table(a_field("A", long(b"A\0\0\0\1"))), "a value ends beyond its table"),
        (as_table(a_field("A", long(b"I\0")), a_field("t", b"\0")), "a value ends beyond its array"),
        (nested(DEPTH_LIMIT, "F"), f"tables and arrays within each other are deeper than {DEPTH_LIMIT}"),
        (nested(10_000, "A"), f"tables and arrays within each other are deeper than {DEPTH_LIMIT}"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(TableError) as refused:
        decode_table(data)
    assert str(refused.value) == reason


def test_nesting_up_to_the_limit_is_read() -> None:
    for tag in "FA":
        assert decode_table(nested(DEPTH_LIMIT - 1, tag))


def read_or_refused(data: bytes) -> dict[str, FieldValue] | None:
    try:
        return decode_table(data)
    except TableError as refused:
        assert 0 < len(str(refused)) < 100
        return None


@given(TABLES)
def test_no_table_that_is_cut_is_read(table: dict[str, FieldValue]) -> None:
    data = encode_table(table)
    assert [end for end in range(len(data)) if read_or_refused(data[:end]) is not None] == []


@given(TABLES)
def test_a_field_that_is_cut_is_refused_whatever_follows_it(table: dict[str, FieldValue]) -> None:
    """The length of the table lies: its last value runs into the bytes behind it."""
    data = encode_table({"k": table})
    for short in range(1, 6):
        wrong = struct.pack(">I", max(0, len(data) - 4 - short)) + data[4:]
        assert read_or_refused(wrong) is None


@given(TABLES, st.data())
def test_a_table_with_wrong_bytes_is_read_or_refused(table: dict[str, FieldValue], draw: st.DataObject) -> None:
    data = bytearray(encode_table(table))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    read_or_refused(bytes(data))


def test_every_flipped_bit_of_a_table_is_read_or_refused() -> None:
    every: dict[str, FieldValue] = {
        "text": "ü",
        "array": [1, 1.5, None, True, b"\xff", [[]]],
        "table": {"decimal": AmqpDecimal(2, 5), "timestamp": AmqpTimestamp(2**63), "int": 2**40},
    }
    data = encode_table(every)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        read_or_refused(bytes(flipped))


@given(st.binary(max_size=200).map(as_table))
@example(as_table(a_field("A", b"\xff\xff\xff\xff")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


SHARED: list[FieldValue] = ["a" * 1000]
for _ in range(DEPTH_LIMIT - 3):
    SHARED = [SHARED, SHARED]
ENDLESS: list[FieldValue] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"k": 2**63}, "k: an integer beyond 64 bits has no form in AMQP: send it as text"),
        ({"k": [-(2**63) - 1]}, "k: an integer beyond 64 bits has no form in AMQP: send it as text"),
        ({"k": math.nan}, "k: nan cannot be sent to RabbitMQ: send it as text"),
        ({"k": -math.inf}, "k: -inf cannot be sent to RabbitMQ: send it as text"),
        ({"k": "\ud800"}, "'\\ud800' is not Unicode text: it has half of a surrogate pair"),
        ({"ü" * 128: 1}, f"the name {'ü' * 32!r}... has 256 bytes in UTF-8: at most 255 are possible"),
        ({"k": AmqpTimestamp(-1)}, "k: AmqpTimestamp(seconds=-1) is out of range"),
        ({"k": AmqpDecimal(256, 0)}, "k: AmqpDecimal(places=256, digits=0) is out of range"),
        ({"k": {1, 2}}, "k: a set has no form in AMQP: send it as text"),
        ({"k": {5: 1}}, "the name 5 in a table must be text"),
        ({"k": ENDLESS}, f"k: tables and arrays within each other are deeper than {DEPTH_LIMIT}"),
        ({"k": SHARED}, f"the table has more than {TABLE_LIMIT} bytes"),
        ({"k": "a" * TABLE_LIMIT}, f"the table has more than {TABLE_LIMIT} bytes"),
    ],
)
def test_what_has_no_form_is_refused_with_the_reason(table: Any, reason: str) -> None:
    with pytest.raises(TableError) as refused:
        encode_table(table)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (2**31 - 1, b"I"),
        (-(2**31), b"I"),
        (2**31, b"l"),
        (-(2**31) - 1, b"l"),
        (2**63 - 1, b"l"),
        (-(2**63), b"l"),
        (2.0, b"d"),
        (True, b"t"),
    ],
)
def test_a_number_has_a_type_that_every_client_knows(value: float, tag: bytes) -> None:
    data = encode_table({"k": value})
    assert data[6:7] == tag
    assert same(decode_table(data), {"k": value})


@pytest.mark.parametrize("form", [bytearray, memoryview])
def test_octets_may_be_in_any_form(form: Callable[[bytes], Any]) -> None:
    assert decode_table(encode_table({"k": form(b"\xff")})) == {"k": b"\xff"}


def test_a_tuple_is_an_array_and_any_mapping_a_table() -> None:
    value: Sequence[FieldValue] | Mapping[str, FieldValue] = ({"a": (1,)},)
    assert decode_table(encode_table({"k": value})) == {"k": [{"a": [1]}]}
