"""What an exchange, a binding or an event is made of is kept as it is given, or refused in words, whatever it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import Outlast, OutlastError
from outlast.brokers.binding_rows import encoded
from outlast.brokers.rabbitmq.event_form import event_message
from outlast.core.codec import check
from outlast.core.exchanges.changes import row_of
from outlast.core.exchanges.copies import copies_of
from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Binding, ExchangeEvent
from tests.unit.enqueue.test_doors import ODD, value

shop = Outlast("event-doors")
EXCHANGES = {name: shop.exchange(name, type=name) for name in ("topic", "direct", "fanout", "headers")}


@shop.job(queue="all", on=[EXCHANGES["topic"].binding("#"), EXCHANGES["fanout"].binding()])
async def take(event: object) -> None: ...


def carried(event: ExchangeEvent) -> None:
    """Assert that each store and RabbitMQ take an event: its copy is a message, and its properties can be sent."""
    binding = Binding(exchange=event.exchange, queue="q", kind="k", parameter="event")
    for copies in (copies_of(event, [binding], keep=False), copies_of(event, [], keep=True)):
        for message in copies.messages:
            if message.queue == "q":
                check(message)
    assert event_message(event).key == event.key


def told(error: OutlastError) -> None:
    """Assert that an error is short, and shows no half of a character."""
    text = str(error)
    assert len(text) < 900, text
    text.encode()


def exchange_of(name: Any, options: dict[str, Any]) -> None:
    """Declare an exchange of an app of its own."""
    try:
        made = Outlast("own").exchange(name, **options)
    except OutlastError as error:
        told(error)
        return
    assert type(made.name) is str
    encoded(made.exchange)


def binding_of(exchange: str, key: Any, options: dict[str, Any]) -> None:
    """Bind a queue; a binding that is made can be stored and routes without an error."""
    try:
        made = EXCHANGES[exchange].binding(key, **options)
    except OutlastError as error:
        told(error)
        return
    bound = Binding(
        exchange=exchange, queue="q", kind="k", parameter="event", key=made.key, arguments=made.arguments
    )  # fmt: skip
    row_of(bound).encode()
    encoded(bound)
    Router([made.exchange], [bound]).route(exchange, "a.b", {"a": 1})


def event_of(exchange: str, key: Any, event: Any, options: dict[str, Any]) -> None:
    """Make an event; one that is made is published to a store, or told to be routable nowhere."""
    try:
        made = EXCHANGES[exchange].event(key, event, **options)
    except OutlastError as error:
        told(error)
        return
    carried(made)


def publish_of(exchange: str, key: Any, event: Any, options: dict[str, Any]) -> None:
    """Publish an event to the memory store."""

    async def publish() -> None:
        with shop.testing():
            try:
                await EXCHANGES[exchange].publish(key, event, **options)
            except OutlastError as error:
                told(error)

    asyncio.run(publish())


header_names = st.sampled_from(["a", "x-match", "x-a", "CC", "outlast-a", ""]) | st.text(max_size=5)
headers: Any = st.dictionaries(header_names, value, max_size=3) | value
keys: Any = st.sampled_from(["a.b", "*.#", "", "x" * 255, "x" * 256, "é" * 128]) | value
options: Any = st.fixed_dictionaries({}, optional={"headers": headers, "id": value, "expires": value})
exchanges: Any = st.sampled_from(sorted(EXCHANGES))


@given(name=value, options=st.fixed_dictionaries({}, optional={"type": value, "unroutable": value}))
def test_an_exchange_is_declared_or_refused_in_words(name: Any, options: dict[str, Any]) -> None:
    exchange_of(name, options)


@given(
    exchange=exchanges,
    key=keys,
    options=st.fixed_dictionaries({}, optional={"headers": headers, "match": st.just("any") | value}),
)
def test_a_binding_is_kept_or_refused_in_words(exchange: str, key: Any, options: dict[str, Any]) -> None:
    binding_of(exchange, key, options)


@given(exchange=exchanges, key=keys, event=value | st.lists(value), options=options)
def test_an_event_is_carried_or_refused_in_words(exchange: str, key: Any, event: Any, options: dict[str, Any]) -> None:
    event_of(exchange, key, event, options)


@given(exchange=exchanges, key=keys, event=st.just(1) | value, options=options)
def test_an_event_is_published_or_refused_in_words(
    exchange: str, key: Any, event: Any, options: dict[str, Any]
) -> None:
    publish_of(exchange, key, event, options)


@pytest.mark.parametrize("exchange", sorted(EXCHANGES))
def test_each_odd_value_in_each_place(exchange: str) -> None:
    for odd in ODD:
        exchange_of(odd, {})
        exchange_of("a", {"type": odd})
        exchange_of("a", {"unroutable": odd})
        binding_of(exchange, odd, {})
        binding_of(exchange, None, {"headers": odd})
        binding_of(exchange, None, {"headers": {"a": odd}})
        binding_of(exchange, None, {"match": odd, "headers": {}})
        event_of(exchange, odd, 1, {})
        event_of(exchange, "a", odd, {})
        for name in ("headers", "id", "expires"):
            event_of(exchange, "a", 1, {name: odd})
        event_of(exchange, "a", 1, {"headers": {"a": odd}})
