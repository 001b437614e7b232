"""The bridge on a real RabbitMQ: what it declares, what it publishes, what it moves and what it leaves there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from msgspec import Raw, json, structs

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.brokers.rabbitmq import event_feed
from outlast.brokers.rabbitmq.inbox import PREFETCH, RabbitInbox
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.codec import encode_value
from outlast.core.errors import ConfigurationError, StoreUnavailable
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent, Routed
from outlast.core.message import Holder, Message
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import ACCEPTED, Exists, Finish, Full
from outlast.core.topology import Queue, Topology
from tests.support.bridge import Bridge, open_bridge
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer, shared_rabbit

HOLDER = Holder("a" * 32)


def topology(*bindings: Binding, queues: dict[str, Any] | None = None, **exchange: Any) -> Topology:
    """Return an app with the exchange "orders" and these bindings."""
    names = dict.fromkeys(each.queue for each in bindings)
    declared = tuple(Queue(name=name, **(queues or {}).get(name, {})) for name in names)
    return Topology(declared, "shop", exchanges=(Exchange(name="orders", **exchange),), bindings=bindings)


def bound(queue: str, key: str = "#", **options: Any) -> Binding:
    """Return the binding of a queue to "orders"."""
    return Binding(
        **{"exchange": "orders", "queue": queue, "kind": f"on_{queue}", "parameter": "order", "key": key, "app": "shop"}
        | options
    )


def event(id: str, key: str = "paid", body: Any = None, **options: Any) -> ExchangeEvent:
    """Return an event of "orders"."""
    return ExchangeEvent(id=id, exchange="orders", key=key, body=encode_value(body), at=SystemClock().time(), **options)


@pytest.fixture
def rabbit() -> RabbitServer:
    """The node that this process shares."""
    return shared_rabbit()


@pytest.fixture
def url(rabbit: RabbitServer) -> Iterator[str]:
    """A virtual host of the test's own."""
    with rabbit.vhost() as vhost:
        yield rabbit.url_of(vhost)


@pytest.fixture
async def bridge(url: str) -> AsyncIterator[Bridge]:
    """A bridge over a store in memory."""
    async with open_bridge(MemoryStore(SystemClock(), max_body=DEFAULTS.max_body), url) as bridge:
        yield bridge


async def publish_raw(bridge: Bridge, exchange: str, key: str, body: bytes, **properties: Any) -> None:
    """Publish as another team's client does."""
    message = AmqpMessage(exchange, key, body, MessageProperties(**properties))
    assert [each.outcome for each in await bridge.client.publish([message], 30)] == ["confirmed"]


async def ready(bridge: Bridge, queue: str) -> int:
    """Return the number of messages that wait in a queue of RabbitMQ."""
    return (await bridge.client.declarations.find_queue(queue)).messages


async def letters(bridge: Bridge, queue: str, number: int) -> list[AmqpDelivery]:
    """Return the dead letters of a queue, as soon as there are so many."""
    found: list[AmqpDelivery] = []
    bridge.client.consume(f"{queue}.dead", 100, found.append)
    await until(lambda: len(found) >= number, f"{number} dead letters")
    return found


async def test_an_event_becomes_the_copy_that_a_store_would_make(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing", "order.*.paid", expires=60.0), bound("mail", "#")))
    headers = {"text": "ü", "n": 1, "big": 2**53 + 1, "f": 1.5, "yes": True, "none": None}
    sent = event("7", "order.eu.paid", {"id": 7}, headers=headers, expires_at=2e9)
    assert await bridge.store.exchanges.publish_events([sent]) == [Routed(native=True)]
    moved = {each.queue: each for each in await bridge.moved(["billing", "mail"])}
    assert sorted(moved) == ["billing", "mail"]
    bill = moved["billing"]
    assert bill == Message(
        id=copy_id("orders", "7", "billing"),
        queue="billing",
        kind="on_billing",
        args=Raw(b'{"order":{"id":7}}'),
        enqueued_at=float(int(sent.at)),
        run_at=float(int(sent.at)),
        expires_at=float(int(sent.at)) + 60,
        headers={
            "text": "ü", "n": "1", "big": "9007199254740993", "f": "1.5", "yes": "true", "none": "null",
            "outlast-exchange": "orders", "outlast-key": "order.eu.paid", "outlast-event": "7",
        },
    )  # fmt: skip
    assert moved["mail"].expires_at == 2e9
    assert await ready(bridge, "billing") == 0


async def test_repeating_an_event_makes_no_second_job(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing")))
    for _ in range(3):
        await bridge.store.exchanges.publish_events([event("7")])
    await bridge.moved(["billing"])
    assert [answer for _, answer in bridge.moved_in][:3] == [
        ACCEPTED, Exists(copy_id("orders", "7", "billing"), "id", "on_billing"),
        Exists(copy_id("orders", "7", "billing"), "id", "on_billing"),
    ]  # fmt: skip


async def test_an_event_that_no_binding_takes_is_returned(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing", "paid")))
    events = [event("1", "paid"), event("2", "lost"), event("3", "paid")]
    assert await bridge.store.exchanges.publish_events(events) == [
        Routed(native=True), Routed(), Routed(native=True),
    ]  # fmt: skip
    assert [each.headers and each.headers["outlast-event"] for each in await bridge.moved(["billing"])] == ["1", "3"]


async def test_an_event_that_no_binding_takes_is_kept_through_an_alternate_exchange(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing", "paid"), unroutable="keep"))
    assert await bridge.store.exchanges.publish_events([event("2", "lost", {"id": 2}, headers={"n": 1})]) == [
        Routed(native=True)
    ]
    (kept,) = await bridge.moved(["billing"])
    assert (kept.queue, kept.kind, kept.id) == (
        "orders-unroutable", "orders-unroutable", copy_id("orders", "2", "orders-unroutable"),
    )  # fmt: skip
    assert json.decode(kept.args) == {"event": {"id": 2}, "key": "lost", "headers": {"n": 1}}


async def test_what_was_deleted_is_declared_again_before_an_event_is_lost(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing", "paid"), unroutable="keep"))
    for name in ("orders", "orders-unroutable"):
        await bridge.client.declarations.delete_exchange(name)
    assert await bridge.store.exchanges.publish_events([event("1", "paid")]) == [Routed(native=True)]
    await bridge.client.declarations.delete_exchange("orders-unroutable")
    assert await bridge.store.exchanges.publish_events([event("2", "lost")]) == [Routed(native=True)]
    moved = await bridge.moved(["billing"])
    assert sorted(each.queue for each in moved) == ["billing", "orders-unroutable"]


async def test_the_publisher_of_another_exchange_is_refused(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing")))
    with pytest.raises(ConfigurationError, match="exchange 'other' is not declared at amqp://"):
        await bridge.store.exchanges.publish_events([structs.replace(event("1"), exchange="other")])


async def test_a_message_by_an_unknown_exchange_goes_to_the_only_kind_of_its_queue(bridge: Bridge) -> None:
    two = (bound("billing"), bound("mail"), bound("mail", exchange="others", kind="on_other"))
    declared = structs.replace(topology(*two), exchanges=(Exchange(name="orders"), Exchange(name="others")))
    await bridge.store.broker.declare(declared)
    await publish_raw(bridge, "", "billing", b'{"id": 1}', message_id="1")
    await bridge.client.declarations.declare_exchange("foreign", "fanout")
    await bridge.client.declarations.bind_queue("billing", "foreign")
    await publish_raw(bridge, "foreign", "any", b'{"id": 2}', message_id="2")
    await publish_raw(bridge, "", "mail", b'{"id": 3}', message_id="3")
    assert [each.id for each in await bridge.moved(["billing"])] == [
        copy_id("", "1", "billing"), copy_id("foreign", "2", "billing"),
    ]  # fmt: skip
    (intake,) = bridge.intakes(["mail"])
    moving = asyncio.create_task(intake.run())
    (letter,) = await letters(bridge, "mail", 1)
    await intake.close()
    await moving
    reason = letter.properties().headers["outlast-reason"]
    assert "it came by exchange '', which no job of queue 'mail' is bound to" in str(reason)


async def test_an_event_without_an_id_gets_one(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing")))
    for _ in range(2):
        await publish_raw(bridge, "orders", "paid", b"1")
    one, two = await bridge.moved(["billing"])
    assert one.id != two.id
    assert one.headers is not None
    assert one.id == copy_id("orders", one.headers["outlast-event"], "billing")


async def test_a_dead_letter_that_is_moved_back_is_the_event_that_it_was(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing"), bound("mail", exchange="orders")))
    await publish_raw(bridge, "orders", "paid", b"no json", message_id="1", headers={"n": 1})
    await bridge.moved(["billing", "mail"])
    (letter,) = await letters(bridge, "billing", 1)
    await bridge.client.publish([AmqpMessage("", "billing", b"{}", letter.properties())], 30)
    (moved,) = await bridge.moved(["billing"])
    assert moved.id == copy_id("orders", "1", "billing")
    assert moved.headers == {"n": "1", "outlast-exchange": "orders", "outlast-key": "paid", "outlast-event": "1"}


async def test_a_full_queue_keeps_its_events_on_the_server_and_the_others_go_on(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing"), bound("mail"), queues={"billing": {"max_depth": 3}}))
    await bridge.store.exchanges.publish_events([event(str(n)) for n in range(4)])
    (intake,) = bridge.intakes(["billing", "mail"])

    async def stored(queue: str) -> int:
        return (await bridge.store.broker.stats([queue]))[queue].depth

    while await stored("mail") < 4 or await stored("billing") < 3:
        await intake.step(wait=0.05)
    assert await stored("billing") == 3
    assert not any(isinstance(answer, Full) for _, answer in bridge.moved_in)
    done: list[str] = []
    while len(done) < 4:
        claimed = await bridge.store.broker.claim({"billing": 5}, limit=5, holder=HOLDER, lease=10, wait=0)
        await bridge.store.broker.settle([Finish(each.fence, "succeeded") for each in claimed])
        done += [(each.message.headers or {})["outlast-event"] for each in claimed]
        await intake.step(wait=0.1)
    assert done == ["0", "1", "2", "3"]


async def test_what_is_too_large_for_the_queue_is_a_dead_letter(bridge: Bridge) -> None:
    await bridge.store.broker.declare(topology(bound("billing"), queues={"billing": {"max_bytes": 100}}))
    await bridge.store.exchanges.publish_events([event("1", body="x" * 200), event("2", body="y")])
    assert len(await bridge.moved(["billing"])) == 1
    (letter,) = await letters(bridge, "billing", 1)
    assert "more than max_bytes=100" in str(letter.properties().headers["outlast-reason"])


async def test_what_is_not_settled_is_delivered_again(url: str) -> None:
    store = MemoryStore(SystemClock(), max_body=DEFAULTS.max_body)
    async with open_bridge(store, url) as first:
        await first.store.broker.declare(topology(bound("billing")))
        await first.store.exchanges.publish_events([event("1"), event("2")])
        assert first.store.inbox is not None
        taken = await first.store.inbox.take(["billing"], limit=10, wait=30)
        assert taken
    async with open_bridge(store, url) as second:
        await second.store.broker.declare(topology(bound("billing")))
        assert [(each.headers or {})["outlast-event"] for each in await second.moved(["billing"])] == ["1", "2"]


async def test_a_queue_that_is_deleted_under_its_consumer_is_consumed_again(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    await bridge.store.broker.declare(topology(bound("billing"), bound("mail")))
    await bridge.store.exchanges.publish_events([event("1")])
    await bridge.moved(["billing", "mail"])
    with caplog.at_level(logging.WARNING, "outlast.rabbitmq"):
        await bridge.client.declarations.delete_queue("billing")

        async def fed() -> bool:
            (answer,) = await bridge.store.exchanges.publish_events([event("2")])
            assert answer == Routed(native=True)
            return any(each.queue == "billing" for each in await bridge.moved(["billing", "mail"]))

        await until(lambda: "again" in caplog.text, "consumed again")
        await until(fed, "billing gets events again")
    assert caplog.text.count("no events are taken from it now") == 1


async def test_unbinding_removes_from_both(bridge: Bridge) -> None:
    both = (bound("billing", "paid"), bound("mail", "paid"))
    await bridge.store.broker.declare(topology(*both))
    assert await bridge.store.exchanges.unbind([both[1]], ["orders"]) == 1
    await bridge.store.exchanges.publish_events([event("1")])
    assert [each.queue for each in await bridge.moved(["billing"])] == ["billing"]
    assert await ready(bridge, "mail") == 0
    assert (await bridge.store.exchanges.bindings()).bindings == (both[0],)
    assert await bridge.store.exchanges.unbind([both[0]], ["orders"]) == 2
    assert (await bridge.store.exchanges.bindings()).exchanges == ()


async def test_a_queue_of_another_kind_is_refused_with_the_fix(bridge: Bridge) -> None:
    await bridge.client.declarations.declare_queue("billing")
    with pytest.raises(ConfigurationError, match=r"queue 'billing' exists at amqp://\S+ with another x-\S+: .*shovel"):
        await bridge.store.broker.declare(topology(bound("billing")))


async def test_an_exchange_of_another_type_is_refused_with_the_fix(bridge: Bridge) -> None:
    await bridge.client.declarations.declare_exchange("orders", "direct")
    wanted = (
        r"exchange 'orders' exists at amqp://\S+ with another type: received 'topic' but current is 'direct': declare "
        r"it with the type= that it has, give it another name, or delete it .*rabbitmqadmin"
    )
    with pytest.raises(ConfigurationError, match=wanted):
        await bridge.store.broker.declare(topology(bound("billing")))


async def test_an_exchange_with_another_unroutable_is_refused(bridge: Bridge) -> None:
    await bridge.client.declarations.declare_exchange("orders", "topic")
    with pytest.raises(ConfigurationError, match="declare it with the unroutable= that it has"):
        await bridge.store.broker.declare(topology(bound("billing"), unroutable="keep"))


async def test_a_virtual_host_that_is_missing_is_told_with_the_setting(rabbit: RabbitServer) -> None:
    store = MemoryStore(SystemClock(), max_body=DEFAULTS.max_body)
    async with open_bridge(store, rabbit.url_of("nowhere")) as bridge:
        with pytest.raises(ConfigurationError, match=r"amqp_url \(Settings or OUTLAST_AMQP_URL\): .*add_vhost"):
            await bridge.store.broker.declare(topology(bound("billing")))


@pytest.mark.parametrize(
    ("configure", "write", "told"),
    [
        ("", ".*", r"queue 'billing\.dead' cannot be declared .*give the user the permissions configure"),
        ("billing.*", ".*", r"exchange 'orders' cannot be declared .*give the user the permissions configure"),
        (".*", "amq.default|billing.dead", r"queue 'billing' cannot be bound to exchange 'orders' .*permissions write"),
    ],
)
async def test_a_user_without_permission_is_told_what_is_missing(
    rabbit: RabbitServer, url: str, configure: str, write: str, told: str
) -> None:
    vhost = url.rpartition("/")[2]
    rabbit.api("PUT", "users/reader", {"password": "pw", "tags": ""})
    rabbit.api("PUT", f"permissions/{vhost}/reader", {"configure": configure, "write": write, "read": ".*"})
    reader = url.replace(f"{rabbit.user}:{rabbit.password}@", "reader:pw@")
    try:
        async with open_bridge(MemoryStore(SystemClock(), max_body=DEFAULTS.max_body), reader) as bridge:
            with pytest.raises(ConfigurationError, match=told):
                await bridge.store.broker.declare(topology(bound("billing")))
    finally:
        rabbit.api("DELETE", "users/reader")


async def test_jobs_go_on_while_rabbitmq_is_away(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(SystemClock(), max_body=DEFAULTS.max_body)
    async with open_bridge(store, "amqp://guest:guest@127.0.0.1:1/") as bridge:
        with caplog.at_level(logging.WARNING, "outlast.rabbitmq"):
            await bridge.store.broker.declare(topology(bound("billing")))
        assert "the exchanges are declared when RabbitMQ is back, jobs go on" in caplog.text
        job = Message(id="billing.1", queue="billing", kind="on_billing", args=Raw(b"{}"), enqueued_at=1.0, run_at=1.0)
        assert await bridge.store.broker.publish([job]) == [ACCEPTED]
        with pytest.raises(StoreUnavailable):
            await bridge.store.exchanges.publish_events([event("1")])
        (intake,) = bridge.intakes(["billing"])
        assert await intake.step(wait=0) == 0
    assert sum("RabbitMQ is away" in each.getMessage() for each in caplog.records) == 1


async def test_a_queue_that_was_deleted_and_made_again_at_once_is_consumed_anew(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "SILENCE", 0.2)
    declared = topology(bound("billing"))
    await bridge.store.broker.declare(declared)
    await bridge.moved(["billing"])
    await bridge.client.declarations.delete_queue("billing")
    await bridge.store.broker.declare(declared)
    await bridge.store.exchanges.publish_events([event("1")])
    assert [(each.headers or {})["outlast-event"] for each in await bridge.moved(["billing"])] == ["1"]


async def test_as_many_messages_are_asked_for_as_have_room(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "ROOM", 10_000)
    monkeypatch.setattr(event_feed, "LAST", 100)
    await bridge.store.broker.declare(topology(bound("billing")))

    async def prefetch(first: int, number: int, size: int) -> int:
        assert isinstance(bridge.store.inbox, RabbitInbox)
        await bridge.store.exchanges.publish_events(
            [event(str(n), body="x" * (size - 2)) for n in range(first, first + number)]
        )
        assert len(await bridge.moved(["billing"])) == number
        return bridge.store.inbox._feeds["billing"].consumer.prefetch

    assert await prefetch(0, 10, 10) == event_feed.FIRST
    assert await prefetch(10, 10, 10) == PREFETCH
    assert await prefetch(20, 1, 1000) == 10
    assert await prefetch(21, 1, 20_000) == 1
    assert await prefetch(22, 150, 10) == PREFETCH
