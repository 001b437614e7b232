"""A thousand messages that cannot become jobs: each is a dead letter with a reason, and all others are moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count, islice

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.policy import DEFAULTS
from outlast.core.topology import Queue, Topology
from tests.support.bridge import open_bridge
from tests.support.malformed import MalformedMessage, malformed_messages, odd_messages
from tests.support.polling import until
from tests.support.raw_amqp import raw_channel
from tests.support.servers.rabbitmq_server import shared_rabbit

WORDS = {
    "json": "the body is no JSON",
    "depth": "nested",
    "size": "max_body",
    "id": "message_id=",
    "headers": "header",
    "properties": "propert",
}
"""What each reason says."""


def thousand() -> list[MalformedMessage]:
    """Return 1,000 messages, five with deep headers at random: a quorum queue takes a second for each of these."""
    deep, messages = count(), malformed_messages("billing", "bill", 2000)
    return list(islice((each for each in messages if each.name != "deep headers" or next(deep) < 5), 1000))


async def test_what_cannot_become_a_job_is_a_dead_letter_with_a_reason_and_the_rest_is_moved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rabbit = shared_rabbit()
    topology = Topology(
        (Queue(name="billing"),),
        "shop",
        exchanges=(Exchange(name="orders", type="fanout"),),
        bindings=(Binding(exchange="orders", queue="billing", kind="bill", parameter="event", app="shop"),),
    )
    messages = thousand()
    bad = [each for each in messages if each.event not in (None, "arguments")]
    good = [*(each for each in messages if each not in bad), *odd_messages("billing", "bill")]
    assert len(messages) == 1000
    with rabbit.vhost() as vhost:
        url = rabbit.url_of(vhost)
        store = MemoryStore(SystemClock(), max_body=DEFAULTS.max_body)
        async with open_bridge(store, url) as bridge:
            await bridge.store.broker.declare(topology)
            with raw_channel(url) as channel:
                published = [(each.properties, each.body) for each in (*bad, *good)]
                await asyncio.to_thread(channel.publish_all, "orders", "", published)
            moved = await bridge.moved(["billing"])
            assert len(moved) == len(good)
            letters: list[AmqpDelivery] = []
            bridge.client.consume("billing.dead", 0xFFFF, letters.append)
            await until(lambda: len(letters) >= len(bad), "all dead letters are there")
            assert await bridge.moved(["billing"]) == []
    headers = [each.properties().headers for each in letters]
    assert {each["outlast-exchange"] for each in headers} == {"orders"}
    reasons = [str(each["outlast-reason"]) for each in headers]
    wrong = [(each.name, why) for each, why in zip(bad, reasons, strict=True) if WORDS[each.event or ""] not in why]
    assert wrong == []
    assert len(Counter(reasons)) > 20
