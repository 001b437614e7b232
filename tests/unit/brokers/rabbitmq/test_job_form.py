"""A job as a message of AMQP and back; what a foreign client may leave out; what is no job, and why."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw, structs

from outlast.brokers.rabbitmq.job_form import (
    Malformed,
    TakenJob,
    dead_properties,
    job_properties,
    kept_properties,
    read_job,
)
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.properties import MessageProperties, encode_properties
from outlast.clients.amqp.table import AmqpDecimal, AmqpTimestamp
from outlast.core.message import Failure, Message
from tests.support.jobs import message

NOW = 1_700_000_000.25
MOST = 50_000
ID = f"mail.{'0' * 32}"


def new_id(queue: str) -> str:
    return f"{queue}.made"


def delivered(
    properties: MessageProperties | bytes, body: bytes = b'{"order": 7}', exchange: str = "", key: str = "mail"
) -> AmqpDelivery:
    """Return a delivery to queue mail."""
    header = properties if isinstance(properties, bytes) else encode_properties(properties)
    return AmqpDelivery("mail", 1, 1, False, exchange, key, header, body)


def read(properties: MessageProperties | bytes, body: bytes = b'{"order": 7}') -> TakenJob:
    return read_job(delivered(properties, body), NOW, new_id, MOST)


def plain(**headers: Any) -> MessageProperties:
    """Return the properties that a foreign client needs, and these headers with "outlast-" before their names."""
    named = {f"outlast-{name.replace('_', '-')}": value for name, value in headers.items()}
    return MessageProperties(type="send", message_id="order-7", headers=named)


JOBS: list[Message] = [
    message(ID, NOW, args={"order": 7}),
    message(ID, 1_700_000_000.0, args={}),
    message(ID, NOW, args={"a": [1, {"b": None}]}, delay=60, expires=90.5, redacted=("a",), headers={"trace": "é1"}),
]


@pytest.mark.parametrize("job", JOBS, ids=["plain", "whole second", "all"])
def test_a_job_arrives_as_it_was_sent(job: Message) -> None:
    sent = job_properties(job, attempt=3, crashes=2, begun=True)
    assert read(sent, bytes(job.args)) == TakenJob(job, 3, 2, True)
    assert read(job_properties(job), bytes(job.args)) == TakenJob(job)


def test_a_plain_job_of_a_whole_second_needs_no_headers() -> None:
    properties = job_properties(JOBS[1])
    assert properties == MessageProperties(
        content_type="application/json", delivery_mode=2, message_id=ID, timestamp=1_700_000_000, type="send"
    )


def test_what_the_server_adds_is_counted_and_not_sent_again() -> None:
    death: Any = [{"queue": "q", "count": 1}]
    added = {"x-delivery-count": 2, "x-death": death, "x-first-death-queue": "q", "x-last-death-reason": "expired"}
    first = job_properties(JOBS[0], crashes=1)
    taken = read(structs.replace(first, headers={**first.headers, **added, "CC": ["other"]}))
    assert (taken.crashes, taken.returns, taken.begun) == (3, 2, True)
    assert taken.message.headers is None
    assert set(job_properties(taken.message, crashes=3).headers) == {"outlast-crashes", "outlast-enqueued-at"}


def test_a_foreign_client_needs_a_type_and_a_body() -> None:
    taken = read(MessageProperties(type="send"))
    assert taken.message == message("mail.made", NOW, args={}).__class__(
        id="mail.made", queue="mail", kind="send", args=Raw(b'{"order": 7}'), enqueued_at=NOW, run_at=NOW
    )


@pytest.mark.parametrize(
    ("id", "full"), [("order-7", "mail.order-7"), ("mail.order-7", "mail.order-7"), (None, "mail.made")]
)
def test_an_id_gets_its_queue(id: str | None, full: str) -> None:
    assert read(MessageProperties(type="send", message_id=id)).message.id == full


def test_a_timestamp_beyond_all_years_is_none() -> None:
    assert read(MessageProperties(type="send", timestamp=2**63)).message.enqueued_at == NOW


@pytest.mark.parametrize("timestamp", [1_700_000_000, 1_700_000_000_000])
def test_a_timestamp_is_in_seconds_or_in_milliseconds(timestamp: int) -> None:
    assert read(MessageProperties(type="send", timestamp=timestamp)).message.enqueued_at == 1_700_000_000


def test_headers_of_a_foreign_client_are_text_for_the_handler() -> None:
    given: Any = {
        "text": "a",
        "whole": 3,
        "part": 1.5,
        "on": True,
        "none": None,
        "time": AmqpTimestamp(7),
        "price": AmqpDecimal(2, 1999),
        "octets": b"\xff",
        "list": [1, "b"],
        "table": {"c": 1},
    }
    assert read(MessageProperties(type="send", headers=given)).message.headers == {
        "text": "a",
        "whole": "3",
        "part": "1.5",
        "on": "true",
        "none": "null",
        "time": "7",
        "price": "19.99",
        "octets": "/w==",
        "list": '[1,"b"]',
        "table": '{"c":1}',
    }


def test_fields_that_only_a_store_keeps_are_read_too() -> None:
    taken = read(plain(priority="high", job_key="eu", unique='{"key": "send:7"}', max_wait=5)).message
    assert (taken.priority, taken.key, taken.max_wait) == ("high", "eu", 5.0)
    assert taken.unique is not None
    assert taken.unique.key == "send:7"


NO_JOBS: list[tuple[str, MessageProperties | bytes, bytes, str]] = [
    ("no type", MessageProperties(message_id="1"), b"{}", "no kind: set the property 'type'"),
    ("a bad kind", MessageProperties(type="a b"), b"{}", "kind 'a b'"),
    ("no JSON", plain(), b"hello", "args must be a JSON object"),
    ("no object", plain(), b"[1]", "args must be a JSON object"),
    ("empty", plain(), b"", "args must be a JSON object"),
    ("no UTF-8", plain(), b'{"a": "\xff"}', "args must be a JSON object"),
    ("too deep", plain(), b'{"a":' + b"[" * 9999 + b"]" * 9999 + b"}", "args are nested deeper than 200 levels"),
    ("a bad id", MessageProperties(type="send", message_id="a b"), b"{}", "id='a b'"),
    ("an empty id", MessageProperties(type="send", message_id=""), b"{}", "id=''"),
    ("an id of another queue", MessageProperties(type="send", message_id="other.7"), b"{}", "id 'other.7'"),
    ("too large", plain(), b'{"a": "' + b"a" * MOST + b'"}', "a body of 50009 bytes: at most max_body=50000"),
    ("a text attempt", plain(attempt="1"), b"{}", "header outlast-attempt='1': give a whole number"),
    ("no attempt", plain(attempt=0), b"{}", "header outlast-attempt=0: the first attempt is 1"),
    ("a negative count", plain(crashes=-1), b"{}", "header outlast-crashes=-1"),
    ("a whole begun", plain(begun=1), b"{}", "header outlast-begun=1: give true or false"),
    ("a text time", plain(run_at="now"), b"{}", "header outlast-run-at='now': give a number"),
    ("a time beyond all years", plain(run_at=1e300), b"{}", "run_at="),
    ("a bad priority", plain(priority="urgent"), b"{}", "priority='urgent'"),
    ("a bad unique key", plain(unique="7"), b"{}", "header outlast-unique: give a JSON object"),
    ("a text list", plain(redacted="a"), b"{}", "header outlast-redacted='a': give an array of text"),
    ("long headers", MessageProperties(type="send", headers={"a": "x" * 9000}), b"{}", "headers"),
    ("cut properties", b"\xff\xfc\x05", b"{}", "the properties are cut"),
]


@pytest.mark.parametrize(
    ("properties", "body", "why"), [each[1:] for each in NO_JOBS], ids=[each[0] for each in NO_JOBS]
)
def test_what_is_no_job_has_a_reason(properties: MessageProperties | bytes, body: bytes, why: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(properties, body)
    assert str(refused.value).startswith(why)


def test_a_dead_letter_says_why() -> None:
    failure = Failure(5, NOW, "ValueError", "boom", "Traceback ...")
    properties = dead_properties(JOBS[2], "dead", "attempts", 5, failure)
    assert (
        properties.headers.items()
        >= {
            "outlast-state": "dead",
            "outlast-reason": "attempts",
            "outlast-attempt": 5,
            "outlast-error": "ValueError: boom",
            "outlast-traceback": "Traceback ...",
            "trace": "é1",
        }.items()
    )
    assert (properties.type, properties.message_id) == ("send", ID)


def test_the_headers_of_a_dead_letter_fit_in_a_frame() -> None:
    failure = Failure(5, NOW, "E", "m" * 100_000, "t" * 100_000)
    assert len(encode_properties(dead_properties(JOBS[0], "dead", "r" * 100_000, 5, failure))) < 64 * 1024


def test_what_is_no_job_keeps_its_properties_but_none_that_the_server_acts_on() -> None:
    sent = MessageProperties(
        content_type="text/plain",
        headers={"a": 1.5, "CC": ["x"], "x-death": []},
        user_id="u",
        expiration="5",
        app_id="n",
    )
    kept = kept_properties(delivered(sent, b"x", exchange="orders", key="order.paid"), "no kind")
    assert kept == MessageProperties(
        content_type="text/plain",
        delivery_mode=2,
        app_id="n",
        headers={
            "a": 1.5,
            "outlast-state": "dead",
            "outlast-reason": "no kind",
            "outlast-exchange": "orders",
            "outlast-key": "order.paid",
        },
    )


@pytest.mark.parametrize("headers", [{"a": "x" * 99_000}, {"a": float("nan")}], ids=["long", "not sendable"])
def test_headers_that_cannot_be_sent_again_are_left_out(headers: Any) -> None:
    delivery = delivered(MessageProperties(app_id="n"))
    odd = structs.replace(MessageProperties(app_id="n"), headers=headers)

    class Odd:
        exchange = ""

        def properties(self) -> MessageProperties:
            return odd

    given: Any = Odd()
    assert kept_properties(given, "why") == kept_properties(delivery, "why")


def test_unreadable_properties_are_left_out() -> None:
    kept = kept_properties(delivered(b"\xff\xfc\x05"), "cut")
    assert kept == MessageProperties(delivery_mode=2, headers={"outlast-state": "dead", "outlast-reason": "cut"})
