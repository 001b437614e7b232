"""Copies of events: their ids, arguments and headers."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

import pytest
from msgspec import Raw, json, structs

from outlast.core.bounds import LAST_MOMENT
from outlast.core.codec import check, check_args
from outlast.core.exchanges.checks import EVENT_HEADERS_LIMIT, checked_event_headers
from outlast.core.exchanges.copies import (
    COPY_ROOM,
    NAMESPACE,
    Copies,
    copies_of,
    copy_id,
    event_of_job,
    headers_of,
    refused_size,
    unroutable_queue,
)
from outlast.core.exchanges.values import Binding, Copy, ExchangeEvent, Routed
from outlast.core.settlement import ACCEPTED, Exists, TooLarge


def event(**options: Any) -> ExchangeEvent:
    return ExchangeEvent(
        **{"id": "e1", "exchange": "orders", "key": "paid", "body": Raw(b'{"n":1}'), "at": 100.0, **options}
    )


def binding(queue: str = "mail", **options: Any) -> Binding:
    return Binding(exchange="orders", queue=queue, kind="send", parameter="order", **options)


def test_an_event_of_a_run_has_one_id_and_no_other_event_has_it() -> None:
    events = [
        ("j", "orders", "paid", 0),
        ("j", "orders", "paid", 1),
        ("j", "orders", "", 0),
        ("j", "mail", "paid", 0),
        ("k", "orders", "paid", 0),
        ("j", "orders", "mail 1 paid", 0),
        ("j orders 0", "mail", "paid", 1),
        ("j", "orders", "\ud800", 0),
    ]
    assert len({event_of_job(*each) for each in events}) == len(events)
    assert [event_of_job(*each) for each in events] == [event_of_job(*each) for each in events]
    assert all(UUID(event_of_job(*each)).version == 5 for each in events)


@pytest.mark.parametrize("id", ["e1", "0198f2a4b6c87d0e9f10000000000001", "é/1"])
def test_an_id_is_a_uuid_of_exchange_event_and_queue(id: str) -> None:
    for queue in ("mail", "b", *(f"q{n}" for n in range(64))):
        assert copy_id("orders", id, queue) == f"{queue}.{uuid5(uuid5(NAMESPACE, f'orders/{id}'), queue).hex}"
    assert copy_id("orders", "e1", "mail") == "mail.fb6e4078d5045f20970a4270d1632ef2"


def test_a_copy_is_a_message_that_the_wire_format_carries() -> None:
    headers = {"vip": True, "name": "é", "n": 1, "x": 1.5, "none": None}
    copies = copies_of(event(headers=headers), [binding("billing"), binding("mail", priority="low")], keep=False)
    assert [(each.queue, each.kind, each.priority) for each in copies.messages] == [
        ("billing", "send", "normal"),
        ("mail", "send", "low"),
    ]
    for each in copies.messages:
        check(each)
        check_args(each)
        assert each.id == copy_id("orders", "e1", each.queue)
        assert bytes(each.args) == b'{"order":{"n":1}}'
        assert (each.enqueued_at, each.run_at, each.expires_at, each.redacted) == (100.0, 100.0, None, ())
        assert each.headers == {
            "vip": "true",
            "name": "é",
            "n": "1",
            "x": "1.5",
            "none": "null",
            "outlast-exchange": "orders",
            "outlast-key": "paid",
            "outlast-event": "e1",
        }


def test_parameters_of_several_names_get_the_same_body() -> None:
    other = Binding(exchange="orders", queue="stock", kind="count", parameter="bestellung_ä", redacted=True)
    copies = copies_of(event(), [binding(), other], keep=True)
    assert [json.decode(each.args) for each in copies.messages] == [{"order": {"n": 1}}, {"bestellung_ä": {"n": 1}}]
    assert [each.redacted for each in copies.messages] == [(), ("bestellung_ä",)]
    assert not copies.kept


@pytest.mark.parametrize(
    ("own", "of_binding", "expected"),
    [
        (None, None, None),
        (150.0, None, 150.0),
        (None, 60.0, 160.0),
        (150.0, 60.0, 150.0),
        (150.0, 20.0, 120.0),
        (None, 3e11, LAST_MOMENT),
    ],
)
def test_the_earlier_expiry_counts(own: float | None, of_binding: float | None, expected: float | None) -> None:
    copies = copies_of(event(expires_at=own), [binding(expires=of_binding)], keep=False)
    assert [each.expires_at for each in copies.messages] == [expected]


def test_what_no_binding_takes_has_no_copy_or_is_kept() -> None:
    assert copies_of(event(), [], keep=False) == Copies()
    kept = copies_of(event(headers={"n": 1}, expires_at=7.0), [], keep=True)
    (message,) = kept.messages
    assert kept.kept
    check(message)
    check_args(message)
    assert message.queue == message.kind == unroutable_queue("orders") == "orders-unroutable"
    assert message.id == copy_id("orders", "e1", "orders-unroutable")
    assert json.decode(message.args) == {"event": {"n": 1}, "key": "paid", "headers": {"n": 1}}
    assert message.headers == headers_of(event(headers={"n": 1}))
    assert message.expires_at == 7.0


def test_the_answers_are_told_of_each_copy() -> None:
    copies = copies_of(event(), [binding("billing"), binding("mail")], keep=False)
    known = Exists(copies.messages[1].id)
    assert copies.routed([ACCEPTED, known]) == Routed(
        (
            Copy("billing", copies.messages[0].id, ACCEPTED, "send"),
            Copy("mail", copies.messages[1].id, known, "send"),
        )
    )
    with pytest.raises(ValueError, match="shorter"):
        copies.routed([ACCEPTED])


def test_the_room_of_a_copy_holds_the_longest_key_and_headers() -> None:
    many = {chr(n): "" for n in range(1, EVENT_HEADERS_LIMIT)}
    many = {name: text for name, text in many.items() if not "\ud800" <= name <= "\udfff"}
    for headers in ({"\x01": "\x01" * (EVENT_HEADERS_LIMIT - 1)}, many):
        checked = checked_event_headers("orders", headers)
        (kept,) = copies_of(event(key="\x01" * 255, headers=checked), [], keep=True).messages
        assert refused_size(kept, len(b'{"n":1}')) is None


def test_the_size_of_a_message_that_is_no_copy_is_that_of_its_arguments() -> None:
    (copy,) = copies_of(event(), [binding()], keep=False).messages
    plain = structs.replace(copy, headers={})
    assert refused_size(plain, len(plain.args)) is None
    assert refused_size(plain, len(plain.args) - 1) == TooLarge(len(plain.args), len(plain.args) - 1)
    assert refused_size(copy, len(copy.args) - COPY_ROOM - 1) is not None
