"""The bridge when a worker, RabbitMQ or the store dies: nothing is lost, and an event with an id makes one job."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.store import store_at
from outlast.brokers.sqlite import SqliteStore
from outlast.core.codec import encode_value
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import ACCEPTED, Exists
from outlast.core.store.inbox import Arrival, StoredArrival
from outlast.core.store.store import CompleteStore
from outlast.core.topology import Queue, Topology
from tests.faults.proofs.bridge import BridgeOrders, survive
from tests.support.bridge import Bridge, open_bridge
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer
from tests.support.servers.redis_fleet import node
from tests.support.store_urls import KINDS, store_url

TOPOLOGY = Topology(
    (Queue(name="billing"),),
    "shop",
    exchanges=(Exchange(name="orders"),),
    bindings=(Binding(exchange="orders", queue="billing", kind="bill", parameter="order", key="#", app="shop"),),
)


def event(id: str) -> ExchangeEvent:
    """Return an event of "orders"."""
    return ExchangeEvent(id=id, exchange="orders", key="paid", body=encode_value(id), at=SystemClock().time())


def sqlite(folder: Path) -> CompleteStore:
    """Return a store in a file."""
    return SqliteStore(str(folder / "jobs.db"), clock=SystemClock(), max_body=DEFAULTS.max_body)


async def taken(bridge: Bridge, number: int) -> list[Arrival]:
    """Take events until there are so many."""
    inbox, found = bridge.store.inbox, list[Arrival]()
    assert inbox is not None
    async with asyncio.timeout(60):
        while len(found) < number:
            found += await inbox.take(["billing"], limit=10, wait=30)
    return found


async def test_a_worker_that_dies_between_the_store_and_the_server_doubles_nothing(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    url = rabbit.url_of(vhost)
    async with open_bridge(sqlite(tmp_path), url) as first:
        await first.store.broker.declare(TOPOLOGY)
        await first.store.exchanges.publish_events([event(str(n)) for n in range(3)])
        arrivals = await taken(first, 3)
        assert await first.store.broker.publish([each.message for each in arrivals]) == [ACCEPTED] * 3
    async with open_bridge(sqlite(tmp_path), url) as second:
        await second.store.broker.declare(TOPOLOGY)
        await second.moved(["billing"])
        assert [answer for _, answer in second.moved_in][:3] == [
            Exists(copy_id("orders", str(n), "billing"), "id", "bill") for n in range(3)
        ]
        stats = await second.store.broker.stats(["billing"])
        assert stats["billing"].depth == 4  # with the mark at the end
        assert (await second.client.declarations.find_queue("billing")).messages == 0


async def test_a_connection_that_ends_between_the_store_and_the_receipt_doubles_nothing(
    rabbit: RabbitServer, vhost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bridge(sqlite(tmp_path), rabbit.url_of(vhost)) as bridge:
        await bridge.store.broker.declare(TOPOLOGY)
        await bridge.store.exchanges.publish_events([event(str(n)) for n in range(3)])
        arrivals = await taken(bridge, 3)
        assert await bridge.store.broker.publish([each.message for each in arrivals]) == [ACCEPTED] * 3
        rabbit.api("DELETE", f"connections/{await until(lambda: consuming(rabbit, vhost), 'it is listed')}")
        await until(lambda: "RabbitMQ is away" in caplog.text, "the end of the connection is noticed")
        assert bridge.store.inbox is not None
        await bridge.store.inbox.settle([StoredArrival(each) for each in arrivals])
        await bridge.store.exchanges.publish_events([event("3")])
        await bridge.moved(["billing"])
        stored = [message.id for message, answer in bridge.moved_in if answer == ACCEPTED]
        assert stored[0] == copy_id("orders", "3", "billing")
        assert (await bridge.store.broker.stats(["billing"]))["billing"].depth == 5  # with the mark at the end


def consuming(rabbit: RabbitServer, vhost: str) -> str | None:
    """Return the name of the connection that consumes, as soon as the server lists it."""
    names = [each["channel_details"].get("connection_name") for each in rabbit.api("GET", f"consumers/{vhost}")]
    return quote(names[0], safe="") if names and names[0] else None


async def test_events_wait_on_the_server_while_the_store_is_away(
    rabbit: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    with node(tmp_path / "redis", appendonly="yes", appendfsync="always") as server:
        store = store_at(f"{server.url}?timeout=0.5&connect_timeout=0.5", clock=SystemClock(), max_body=2**20)
        async with open_bridge(store, rabbit.url_of(vhost)) as bridge:
            await bridge.store.broker.declare(TOPOLOGY)
            (intake,) = bridge.intakes(["billing"])
            moving = asyncio.create_task(intake.run())
            await bridge.store.exchanges.publish_events([event("0")])
            await until(lambda: len(bridge.moved_in) == 1, "the first event is moved")
            await asyncio.to_thread(server.kill)
            await bridge.store.exchanges.publish_events([event(str(n)) for n in range(1, 100)])
            await asyncio.to_thread(server.start)
            await until(lambda: len(bridge.moved_in) == 100, "all events are moved")
            ids = {message.id for message, _ in bridge.moved_in}
            assert ids == {copy_id("orders", str(n), "billing") for n in range(100)}
            await intake.close()
            await moving
            assert (await bridge.client.declarations.find_queue("billing")).messages == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_workers_and_the_server_are_killed_while_events_come(
    rabbit: RabbitServer, vhost: str, tmp_path: Path, kind: str
) -> None:
    with store_url(kind, tmp_path) as url:
        verdict = await survive(BridgeOrders(events=600, kills=3, restarts=1, gap=0.7), tmp_path, url, rabbit, vhost)
    print(verdict)  # in full: python -m tests.faults.proofs.bridge
    assert verdict.holds, f"{verdict} {verdict.lost[:5]} {verdict.doubled[:5]}"
    assert verdict.kills >= 2
    assert len(verdict.again.seen) == 1
