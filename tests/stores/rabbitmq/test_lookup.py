"""What a bridge has on a server is found and deleted, and nothing else."""

from __future__ import annotations

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.brokers.registry import bridge_names, erase_bridge
from outlast.core.errors import ConfigurationError, StoreUnavailable
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.policy import DEFAULTS
from outlast.core.topology import Queue, Topology
from tests.support.bridge import open_bridge
from tests.support.servers.rabbitmq_server import shared_rabbit

TOPOLOGY = Topology(
    (Queue(name="mail"),),
    "shop",
    exchanges=(Exchange(name="orders", unroutable="keep"),),
    bindings=(Binding(exchange="orders", queue="mail", kind="send", parameter="order", key="#", app="shop"),),
)
NAMES = [
    "exchange 'orders'",
    "exchange 'orders-unroutable'",
    "queue 'mail'",
    "queue 'mail.dead'",
    "queue 'orders-unroutable'",
    "queue 'orders-unroutable.dead'",
]


async def test_all_that_a_bridge_declares_is_found_and_deleted_and_nothing_else() -> None:
    rabbit = shared_rabbit()
    with rabbit.vhost() as vhost:
        url = rabbit.url_of(vhost)
        rabbit.api("PUT", f"queues/{vhost}/other", {"durable": True})
        rabbit.api("PUT", f"exchanges/{vhost}/others", {"type": "topic", "durable": True})
        assert await bridge_names(url, TOPOLOGY) == []
        async with open_bridge(MemoryStore(SystemClock(), max_body=DEFAULTS.max_body), url) as bridge:
            await bridge.store.broker.declare(TOPOLOGY)
        assert await bridge_names(url, TOPOLOGY) == NAMES
        await erase_bridge(url, TOPOLOGY)
        assert await bridge_names(url, TOPOLOGY) == []
        left = [each["name"] for what in ("queues", "exchanges") for each in rabbit.api("GET", f"{what}/{vhost}")]
        assert [name for name in left if name and not name.startswith("amq.")] == ["other", "others"]
        await erase_bridge(url, TOPOLOGY)


async def test_a_server_that_is_away_and_a_wrong_url_are_told() -> None:
    with pytest.raises(StoreUnavailable):
        await bridge_names("amqp://127.0.0.1:1/", TOPOLOGY)
    with pytest.raises(ConfigurationError, match="OUTLAST_AMQP_URL"):
        await erase_bridge("http://127.0.0.1/", TOPOLOGY)
