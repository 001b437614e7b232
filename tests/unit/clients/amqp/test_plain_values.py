"""What the values of a field table are in JSON."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given

from outlast.clients.amqp.plain_values import PlainValue, plain_value
from outlast.clients.amqp.table import AmqpDecimal, AmqpTimestamp, FieldValue
from tests.support.amqp_tables import TABLES


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        ("ü", "ü"),
        (b"\xff\0", "/wA="),
        (AmqpTimestamp(2**64 - 1), 2**64 - 1),
        (AmqpDecimal(2, 150), "1.50"),
        (AmqpDecimal(0, 7), "7"),
        (AmqpDecimal(1, 2**32 - 15), "-1.5"),
        ([1, b"a", {"b": AmqpTimestamp(0)}], [1, "YQ==", {"b": 0}]),
        ({}, {}),
        ((1, "a"), [1, "a"]),
    ],
)
def test_each_type_has_a_form(value: FieldValue, plain: PlainValue) -> None:
    assert plain_value(value) == plain
    assert type(plain_value(value)) is type(plain)


def test_the_text_of_a_decimal_has_all_its_digits_and_no_exponent() -> None:
    text = plain_value(AmqpDecimal(255, 123))
    assert isinstance(text, str)
    assert text == "0." + "0" * 252 + "123"
    assert Decimal(text) == AmqpDecimal(255, 123).value()


@given(TABLES)
def test_every_table_is_json(table: dict[str, FieldValue]) -> None:
    plain = plain_value(table)
    assert msgspec.json.decode(msgspec.json.encode(plain)) == plain
