"""An event on AMQP: what is sent, what is read of it, and why a message is none."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, json, structs

from outlast.brokers.rabbitmq.event_form import EventReader, event_message
from outlast.brokers.rabbitmq.job_form import Malformed
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.properties import MessageProperties, encode_properties
from outlast.clients.amqp.table import AmqpDecimal, AmqpTimestamp
from outlast.core.codec import encode_value
from outlast.core.exchanges.copies import copies_of, copy_id
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent, HeaderValue
from outlast.core.message import Message

NOW = 2_000_000.0
ORDERS = Exchange(name="orders", unroutable="keep")


def bound(queue: str, exchange: str = "orders", kind: str = "", **options: Any) -> Binding:
    """Return a binding."""
    return Binding(exchange=exchange, queue=queue, kind=kind or f"on_{queue}", parameter="order", **options)


def reader(*bindings: Binding, max_body: int = 1000) -> EventReader:
    """Return a reader that numbers the events that have no id."""
    numbers = count(1)
    return EventReader([ORDERS], bindings, max_body=max_body, new_id=lambda now: f"{now:.0f}-{next(numbers)}")


def delivery(
    body: bytes = b"{}", queue: str = "billing", exchange: str = "orders", key: str = "paid", **properties: Any
) -> AmqpDelivery:
    """Return a delivered message."""
    header = encode_properties(MessageProperties(**properties))
    return AmqpDelivery(queue, 1, 1, False, exchange, key, header, body)


def read(**message: Any) -> Message:
    """Return the copy that a message to billing is."""
    return reader(bound("billing")).read(delivery(**message), NOW)


@pytest.mark.parametrize("redacted", [False, True])
def test_what_is_sent_is_read_as_the_copy_that_a_store_makes(redacted: bool) -> None:
    headers: dict[str, HeaderValue] = {"text": "ü", "n": 1, "f": 1.5, "yes": True, "none": None}
    event = ExchangeEvent(
        id="7", exchange="orders", key="a.b", body=encode_value([1]), at=1000.0, headers=headers, expires_at=1500.5,
        redacted=redacted,
    )  # fmt: skip
    message = event_message(event)
    assert (message.exchange, message.key, message.body) == ("orders", "a.b", b"[1]")
    assert (message.properties.delivery_mode, message.properties.content_type) == (2, "application/json")
    binding = bound("billing", priority="high", expires=60.0)
    sent = AmqpDelivery("billing", 1, 1, False, "orders", "a.b", encode_properties(message.properties), message.body)
    assert [reader(binding).read(sent, NOW)] == copies_of(event, [binding], keep=False).messages


def test_a_foreign_message_needs_nothing() -> None:
    message = read(body=b' {"id": 7}\n')
    assert message == Message(
        id=copy_id("orders", "2000000-1", "billing"),
        queue="billing",
        kind="on_billing",
        args=Raw(b'{"order":{"id": 7}}'),
        enqueued_at=NOW,
        run_at=NOW,
        headers={"outlast-exchange": "orders", "outlast-key": "paid", "outlast-event": "2000000-1"},
    )


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [(None, NOW), (0, NOW), (1000, 1000.0), (1_000_000_000_000, 1e9), (int(NOW) + 60, NOW), (2**64 - 1, NOW)],
)
def test_when_it_was_published(timestamp: int | None, at: float) -> None:
    late = 3e9 if timestamp == 1_000_000_000_000 else NOW
    expected = at if timestamp != 2**64 - 1 else late
    message = reader(bound("billing")).read(delivery(timestamp=timestamp), late)
    assert (message.enqueued_at, message.run_at) == (expected, expected)


def test_headers_of_all_types_are_text() -> None:
    headers = {
        "text": "ü", "float": 1.5, "big": 2**62, "no": False, "none": None, "bytes": b"\xff", "list": [1, "a"],
        "table": {"a": {"b": 1}}, "decimal": AmqpDecimal(2, 150), "at": AmqpTimestamp(7),
        "x-death": [{"count": 1}], "x-delivery-count": 3, "CC": ["x"],
    }  # fmt: skip
    found = dict(read(headers=headers).headers or {})
    assert {name: text for name, text in found.items() if not name.startswith("outlast-")} == {
        "text": "ü", "float": "1.5", "big": str(2**62), "no": "false", "none": "null", "bytes": "/w==",
        "list": '[1,"a"]', "table": '{"a":{"b":1}}', "decimal": "1.50", "at": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"body": b"no"}, "the body is no JSON: "),
        ({"body": b""}, "the body is no JSON: "),
        ({"body": b'1,"other":2'}, "the body is no JSON: "),
        ({"body": b'1}{"a":1'}, "the body is no JSON: "),
        ({"body": b'"\xff"'}, "the body is no JSON: "),
        ({"body": b"[" * 400 + b"]" * 400}, "nested deeper than 200 levels"),
        ({"body": b'"' + b"a" * 1000 + b'"'}, "a body of 1002 bytes, more than max_body=1000"),
        ({"message_id": "a b"}, "message_id='a b': use 1 to 128 letters"),
        ({"message_id": ""}, "message_id='': use 1 to 128 letters"),
        ({"headers": {"outlast-attempt": 3}}, "header 'outlast-attempt': names that begin with 'outlast-' are"),
        ({"headers": {"a": "b" * 9000}}, "headers of 9001 characters, more than 8192"),
        ({"headers": {"outlast-expires-at": "soon"}}, "header outlast-expires-at='soon': give seconds since 1970"),
        ({"headers": {"outlast-expires-at": True}}, "header outlast-expires-at=True: give seconds since 1970"),
        ({"headers": {"outlast-expires-at": -1}}, "header outlast-expires-at=-1: give seconds since 1970"),
    ],
)
def test_a_message_that_is_no_event_says_why(message: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(**message)
    assert why in str(refused.value)


def test_properties_that_cannot_be_read_say_why() -> None:
    with pytest.raises(Malformed, match="the properties are cut"):
        reader(bound("billing")).read(structs.replace(delivery(), header=b"\x80"), NOW)


def test_the_kind_is_that_of_the_exchange() -> None:
    found = reader(bound("billing", kind="one"), bound("billing", "other", kind="two"))
    assert found.read(delivery(), NOW).kind == "one"
    assert found.read(delivery(exchange="other"), NOW).kind == "two"
    with pytest.raises(Malformed, match="it came by exchange '', which no job of queue 'billing' is bound to"):
        found.read(delivery(exchange=""), NOW)


def test_the_only_kind_of_a_queue_takes_all() -> None:
    found = reader(bound("billing", kind="one"), bound("billing", "other", kind="one"))
    assert found.read(delivery(exchange="foreign"), NOW).kind == "one"


def test_the_queue_that_keeps_what_no_binding_takes_keeps_all() -> None:
    found = reader(bound("billing"))
    for exchange in ("orders", "foreign"):
        kept = found.read(
            delivery(b"1", "orders-unroutable", exchange, message_id="7", headers={"n": 1, "list": [1]}), NOW
        )
        assert (kept.kind, kept.id) == ("orders-unroutable", copy_id("orders", "7", "orders-unroutable"))
        assert json.decode(kept.args) == {"event": 1, "key": "paid", "headers": {"n": 1, "list": "[1]"}}


def test_a_dead_letter_that_is_moved_back_is_the_event_that_it_was() -> None:
    headers = {
        "outlast-state": "dead", "outlast-reason": "why", "outlast-exchange": "orders", "outlast-key": "a.b", "n": 1,
    }  # fmt: skip
    found = reader(bound("billing", kind="one"), bound("billing", "other", kind="two"))
    message = found.read(delivery(exchange="", key="billing", message_id="7", headers=headers), NOW)
    assert (message.kind, message.id) == ("one", copy_id("orders", "7", "billing"))
    assert message.headers == {"n": "1", "outlast-exchange": "orders", "outlast-key": "a.b", "outlast-event": "7"}


def test_it_expires_at_the_earlier_time() -> None:
    found = reader(bound("billing", expires=60.0))
    headers = {"outlast-expires-at": NOW + 10}
    assert found.read(delivery(headers=headers), NOW).expires_at == NOW + 10
    assert found.read(delivery(), NOW).expires_at == NOW + 60
    assert read(headers={"outlast-expires-at": AmqpTimestamp(7)}).expires_at == 7.0


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_an_event_or_say_why(header: bytes, body: bytes) -> None:
    sent = AmqpDelivery("billing", 1, 1, False, "orders", "paid", header, body)
    try:
        message = reader(bound("billing")).read(sent, NOW)
    except Malformed as error:
        assert str(error)
    else:
        assert list(json.decode(message.args)) == ["order"]
