"""Headers of every type between amqplib, pika and our codec, through a real server, in both directions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pytest
from msgspec.structs import replace

from outlast.clients.amqp.properties import MessageProperties, decode_properties, encode_properties
from outlast.clients.amqp.table import AmqpDecimal, AmqpTimestamp, FieldValue
from tests.support.node_client import run_node
from tests.support.raw_amqp import RawChannel, raw_channel
from tests.support.servers.rabbitmq_server import shared_rabbit

BY_AMQPLIB: dict[str, FieldValue] = {
    "string": "Grüße, 世界 🐇",
    "empty": "",
    "true": True,
    "false": False,
    "null": None,
    "zero": 0,
    "int8": -128,
    "int16": -32768,
    "int32": -(2**31),
    "int64": -(2**63),
    "int64 up": 2**53 - 1,
    "double": 1.5,
    "tenth": 0.1,
    "double up": 1e300,
    "!int8": 127,
    "!byte": -1,
    "!uint8": 255,
    "!unsignedbyte": 128,
    "!int16": 32767,
    "!short": -1,
    "!uint16": 65535,
    "!unsignedshort": 32768,
    "!int32": 2**31 - 1,
    "!int": 1,
    "!uint32": 2**32 - 1,
    "!unsignedint": 2**31,
    "!int64": 5,
    "!long": -5,
    "!float": 1.5,
    "!float whole": 2.0,
    "!double": -2.25,
    "!float64": 3.0,
    "!double minus zero": -0.0,
    "!timestamp": AmqpTimestamp(1_700_000_000),
    "!timestamp zero": AmqpTimestamp(0),
    "!timestamp ms": AmqpTimestamp(1_700_000_000_000),
    "!timestamp far": AmqpTimestamp(2**63),
    "!decimal": AmqpDecimal(2, 150),
    "!decimal up": AmqpDecimal(255, 2**32 - 1),
    "bytes": b"\0\xff\x80",
    "no bytes": b"",
    "array": ["a", 1, 1.5, True, None, [], ["b"], {"c": AmqpTimestamp(7)}, b"x"],
    "no array": [],
    "table": {"name": "n", "inner": {"deep": [{"deeper": AmqpDecimal(0, 1)}]}, "null": None},
    "no table": {},
}
BY_PIKA: dict[str, Any] = {
    "string": "Grüße, 世界 🐇",
    "empty": "",
    "true": True,
    "false": False,
    "null": None,
    "int": -(2**31),
    "int64": -(2**63),
    "int64 up": 2**63 - 1,
    "decimal": Decimal("1.5"),
    "decimal down": Decimal("-1.25"),
    "date": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    "bytes": b"\0\xff\x80",
    "array": ["a", 1, True, None, [], ["b"], {"c": b"x"}],
    "table": {"name": "n", "inner": {"deep": [{"deeper": None}]}},
    "no table": {},
}
BY_US: dict[str, FieldValue] = {
    name: value for name, value in BY_AMQPLIB.items() if name not in ("int64", "!timestamp far")
}
"""What amqplib's numbers can hold."""


@pytest.fixture(params=["classic", "quorum"])
def queue(request: pytest.FixtureRequest) -> Iterator[tuple[RawChannel, str]]:
    """A channel on which the queue `fields` is declared, and the URL of its virtual host.

    A classic queue hands a header out as it came, a quorum queue reads and writes it.
    """
    rabbit = shared_rabbit()
    with rabbit.vhost() as vhost, raw_channel(rabbit.url_of(vhost)) as channel:
        channel.declare("fields", **{"x-queue-type": request.param})
        yield channel, rabbit.url_of(vhost)


def taken(channel: RawChannel) -> tuple[dict[str, FieldValue], MessageProperties]:
    """Take the message: its headers, and its properties without them."""
    message = channel.get("fields")
    assert message is not None
    properties = decode_properties(message[0])
    headers = {name: value for name, value in properties.headers.items() if name != "x-delivery-count"}
    return headers, replace(properties, headers={})


def typed(value: Any) -> Any:
    """Write a value with its type, so that 1, 1.0 and True differ, and -0.0 from 0.0."""
    if isinstance(value, dict):
        return {name: typed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    return f"{type(value).__name__} {value!r}"


def test_every_type_of_amqplib_arrives_unchanged(queue: tuple[RawChannel, str]) -> None:
    channel, url = queue
    run_node("publish_fields.js", url, "fields")
    headers, properties = taken(channel)
    assert typed(headers) == typed(BY_AMQPLIB)
    assert properties == MessageProperties(
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        priority=3,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        app_id="a",
    )


def test_every_type_of_pika_arrives_unchanged(queue: tuple[RawChannel, str]) -> None:
    channel, url = queue
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        theirs = connection.channel()
        theirs.confirm_delivery()
        theirs.basic_publish("", "fields", b"{}", pika.BasicProperties(headers=BY_PIKA, type="t", delivery_mode=2))
    headers, properties = taken(channel)
    expected = BY_PIKA | {
        "decimal": AmqpDecimal(1, 15),
        "decimal down": AmqpDecimal(2, 2**32 - 125),
        "date": AmqpTimestamp(1_700_000_000),
    }
    assert typed(headers) == typed(expected)
    assert AmqpDecimal(2, 2**32 - 125).value() == BY_PIKA["decimal down"]
    assert (properties.type, properties.delivery_mode) == ("t", 2)


def test_amqplib_reads_what_we_write(queue: tuple[RawChannel, str]) -> None:
    channel, url = queue
    ours = MessageProperties(headers=BY_US, message_id="m", type="t", timestamp=1_700_000_000, delivery_mode=2)
    channel.publish("", "fields", encode_properties(ours), b"{}")
    read = json.loads(run_node("read_message.js", url, "fields"))
    read["headers"].pop("x-delivery-count", None)
    assert read["headers"] == as_amqplib_shows(BY_US)
    assert (read["messageId"], read["type"], read["timestamp"], read["deliveryMode"]) == ("m", "t", 1_700_000_000, 2)


def as_amqplib_shows(value: FieldValue) -> Any:
    if isinstance(value, AmqpTimestamp):
        return {"!": "timestamp", "value": value.seconds}
    if isinstance(value, AmqpDecimal):
        return {"!": "decimal", "value": {"places": value.places, "digits": value.digits}}
    if isinstance(value, bytes):
        return {"type": "Buffer", "data": list(value)}
    if isinstance(value, dict):
        return {name: as_amqplib_shows(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_amqplib_shows(each) for each in value]
    return value


def test_pika_reads_what_we_write(queue: tuple[RawChannel, str]) -> None:
    """All but what its codec loses itself: fractions, and the sign of a decimal above 2**31."""
    channel, url = queue
    lost = ("!timestamp ms", "!decimal up", "table")
    ours = {name: value for name, value in BY_US.items() if not isinstance(value, float) and name not in lost}
    ours["array"] = ["a", 1, True, None, [], ["b"], {"c": AmqpTimestamp(7)}, b"x"]
    channel.publish("", "fields", encode_properties(MessageProperties(headers=ours, type="t")), b"{}")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        _, properties, _ = connection.channel().basic_get("fields", auto_ack=True)
    properties.headers.pop("x-delivery-count", None)
    expected = ours | {
        "!timestamp": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "!timestamp zero": datetime(1970, 1, 1, tzinfo=UTC),
        "!decimal": Decimal("1.5"),
        "array": ["a", 1, True, None, [], ["b"], {"c": datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)}, b"x"],
    }
    assert properties.headers == expected
    assert properties.type == "t"
