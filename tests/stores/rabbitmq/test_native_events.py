"""Exchanges where RabbitMQ itself carries the jobs: an event comes to a bound queue as a job, beside the jobs there."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.brokers.rabbitmq import consumption
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.codec import encode_value
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent, Routed
from outlast.core.settlement import Finish, Reschedule
from outlast.core.topology import Queue, Topology
from tests.stores.rabbitmq.bench import Bench
from tests.support.jobs import failure
from tests.support.polling import until


async def declare(bench: Bench, **exchange: Any) -> None:
    """Bind the queue q to "orders"."""
    binding = Binding(exchange="orders", queue="q", kind="bill", parameter="order", key="order.#", app="shop")
    exchanges = (Exchange(name="orders", **exchange),)
    await bench.broker.declare(Topology((Queue(name="q"),), "shop", exchanges=exchanges, bindings=(binding,)))


def event(bench: Bench, id: str, key: str = "order.paid") -> ExchangeEvent:
    """Return an event of "orders"."""
    return ExchangeEvent(id=id, exchange="orders", key=key, body=encode_value({"n": id}), at=bench.clock.time())


async def test_an_event_comes_as_a_job_beside_jobs(bench: Bench) -> None:
    await declare(bench)
    assert await bench.store.exchanges.publish_events([event(bench, "1"), event(bench, "2", "lost")]) == [
        Routed(native=True), Routed(),
    ]  # fmt: skip
    (job,) = await bench.publish(args={"a": 1})
    one, two = await bench.claim(2)
    assert (one.message.id, one.message.kind) == (copy_id("orders", "1", "q"), "bill")
    assert bench.args(one) == {"order": {"n": "1"}}
    assert (one.message.headers or {})["outlast-event"] == "1"
    assert (two.message.id, bench.args(two)) == (job, {"a": 1})
    assert await bench.settle(Finish(one.fence, "succeeded"), Finish(two.fence, "succeeded")) == []


async def test_the_retry_of_an_event_keeps_its_job(bench: Bench) -> None:
    await declare(bench)
    await bench.store.exchanges.publish_events([event(bench, "1")])
    (first,) = await bench.claim()
    assert await bench.settle(Reschedule(first.fence, bench.clock.time() + 1, 2, failure(1))) == []
    (again,) = await bench.claim()
    assert (again.message.id, again.message.kind, again.attempt) == (first.message.id, "bill", 2)
    assert bench.args(again) == bench.args(first)
    assert again.message.headers == first.message.headers


async def test_a_foreign_event_needs_nothing_and_may_have_a_type(bench: Bench) -> None:
    await declare(bench)
    for properties in (MessageProperties(), MessageProperties(type="order.paid", message_id="7")):
        await bench.client.publish([AmqpMessage("orders", "order.paid", b"[1]", properties)], 30)
    await bench.client.publish([AmqpMessage("", "q", b"[2]", MessageProperties(message_id="8"))], 30)
    found = await bench.claim(3)
    assert [bench.args(each) for each in found] == [{"order": [1]}, {"order": [1]}, {"order": [2]}]
    assert [each.message.id for each in found[1:]] == [copy_id("orders", "7", "q"), copy_id("", "8", "q")]


async def test_what_is_no_event_is_a_dead_letter(bench: Bench) -> None:
    await declare(bench)
    await bench.client.publish([AmqpMessage("orders", "order.paid", b"no json")], 30)
    await bench.store.exchanges.publish_events([event(bench, "1")])
    await bench.claim(1)
    ((letter, headers),) = await bench.letters(1)
    assert letter.body == b"no json"
    assert "the body is no JSON" in str(headers["outlast-reason"])


async def test_what_no_binding_takes_is_kept_where_declared(bench: Bench) -> None:
    await declare(bench, unroutable="keep")
    await bench.store.exchanges.publish_events([event(bench, "1", "lost")])
    (kept,) = await bench.claim(1, "orders-unroutable")
    assert kept.message.kind == "orders-unroutable"
    assert bench.args(kept) == {"event": {"n": "1"}, "key": "lost", "headers": {}}


async def test_an_exchange_of_another_type_is_refused(bench: Bench) -> None:
    await bench.client.declarations.declare_exchange("orders", "direct")
    with pytest.raises(ConfigurationError, match="exchange 'orders' exists at amqp://"):
        await declare(bench)


async def test_bindings_that_were_deleted_with_their_exchange_are_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumption, "_KEEP_EVERY", 0.05)
    monkeypatch.setattr(consumption, "_DEAD_EVERY", 0.1)
    await declare(bench)
    await bench.publish()
    await bench.claim()
    await bench.client.declarations.delete_exchange("orders")
    await bench.client.declarations.declare_exchange("orders", "topic")

    async def bound_again() -> bool:
        return await bench.store.exchanges.publish_events([event(bench, "1")]) == [Routed(native=True)]

    await until(bound_again, "the binding is there", within=20)
