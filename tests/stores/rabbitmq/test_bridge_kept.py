"""What the bridge keeps: its bindings, though others delete them, and its events, though an answer is overdue."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.brokers.rabbitmq import inbox
from outlast.brokers.rabbitmq.exchanges import RabbitExchanges
from outlast.brokers.rabbitmq.inbox import RabbitInbox
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Exchange, Routed
from outlast.core.policy import DEFAULTS
from outlast.core.store.inbox import StoredArrival
from tests.stores.rabbitmq.test_bridge import bound, event, topology
from tests.support.bridge import open_bridge
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit


def memory() -> MemoryStore:
    return MemoryStore(SystemClock(), max_body=DEFAULTS.max_body)


async def test_bindings_that_were_deleted_with_their_exchange_are_made_again(
    vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client declares the exchange again, without our bindings; no consumer is told."""
    monkeypatch.setattr(inbox, "DECLARE_EVERY", 0.1)
    async with open_bridge(memory(), shared_rabbit().url_of(vhost)) as bridge:
        await bridge.store.broker.declare(topology(bound("billing")))
        await bridge.moved(["billing"])
        to = bridge.client.declarations
        await to.delete_exchange("orders")
        await to.declare_exchange("orders", "topic")

        async def bound_again() -> bool:
            await bridge.moved(["billing"])
            return await bridge.store.exchanges.publish_events([event("1")]) == [Routed(native=True)]

        await until(bound_again, "the binding is there")


async def test_a_refused_queue_or_exchange_stops_no_other_and_is_told_once(
    vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bridge(memory(), shared_rabbit().url_of(vhost)) as bridge:
        to = bridge.client.declarations
        await to.declare_queue("bad")
        await to.declare_exchange("wrong", "direct")
        declared = topology(bound("bad"), bound("billing"), bound("billing", exchange="wrong"))
        declared = structs.replace(declared, exchanges=(Exchange(name="wrong"), *declared.exchanges))
        with pytest.raises(ConfigurationError, match=r"^queue 'bad' exists .*; refused too: exchange 'wrong'$"):
            await bridge.store.broker.declare(declared)
        exchanges = bridge.store.exchanges
        assert isinstance(exchanges, RabbitExchanges)
        for _ in range(3):
            exchanges.declare_again()
            await until(lambda: exchanges._attempt is None, "it is tried")
        assert len([each for each in caplog.messages if "can be declared" in each]) == 1
        (answer,) = await bridge.client.publish([AmqpMessage("orders", "any", b"")], 10)
        assert answer.outcome == "confirmed"
        assert (await to.find_queue("billing")).messages == 1


async def test_a_queue_of_dead_letters_that_was_deleted_is_told_of(
    vhost: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox, "DECLARE_EVERY", 0.1)
    async with open_bridge(memory(), shared_rabbit().url_of(vhost)) as bridge:
        await bridge.store.broker.declare(topology(bound("billing")))
        await bridge.moved(["billing"])
        await bridge.client.declarations.delete_queue("billing.dead")

        async def told() -> bool:
            await bridge.moved(["billing"])
            return "queue 'billing.dead' was gone and is made again" in caplog.text

        await until(told, "it is told")


async def test_an_overdue_answer_loses_no_event_that_was_delivered(vhost: str) -> None:
    rabbit = shared_rabbit()
    async with open_bridge(memory(), f"{rabbit.url_of(vhost)}?timeout=5s") as bridge:
        assert isinstance(bridge.store.inbox, RabbitInbox)
        await bridge.store.broker.declare(topology(bound("billing")))
        await bridge.store.exchanges.publish_events([event("1")])
        (arrival,) = await bridge.store.inbox.take(["billing"], limit=1, wait=30)
        consumer = bridge.store.inbox._feeds["billing"].consumer
        with rabbit.stuck(vhost, "billing"):
            consumer.set_prefetch(5)
            await until(lambda: "no answer to Basic.Cancel" in str(consumer.problem), "the problem is told")
        await bridge.store.inbox.settle([StoredArrival(arrival)])
    assert await asyncio.to_thread(rabbit.held, vhost, "billing") == 0
