"""Exchanges: each bound queue gets one copy of an event, once, by the bindings of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import json, structs

from outlast.core.codec import encode_value
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.copies import COPY_ROOM, copy_id
from outlast.core.exchanges.values import (
    Binding,
    Bindings,
    Copy,
    Exchange,
    ExchangeEvent,
    ExchangeType,
    HeaderValue,
    Routed,
)
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Full, TooLarge
from outlast.core.topology import Queue, Topology
from tests.support.jobs import Desk

TWO = ("billing", "mail")


def bound(queue: str, key: str = "", *, to: str = "orders", **options: Any) -> Binding:
    """Return the binding of a queue, for jobs of a kind of its name."""
    return Binding(exchange=to, queue=queue, kind=f"on_{queue}", parameter="order", key=key, app="shop", **options)


async def declare(
    desk: Desk, *bindings: Binding, type: ExchangeType = "direct", app: str = "shop", **options: Any
) -> None:
    """Declare the exchange "orders", and the bindings with their queues."""
    queues = tuple(Queue(name=name) for name in dict.fromkeys(each.queue for each in bindings))
    exchange = Exchange(name="orders", type=type, **options)
    await desk.store.declare(Topology(queues, app, exchanges=(exchange,), bindings=bindings))


def event(desk: Desk, id: str, key: str = "paid", **options: Any) -> ExchangeEvent:
    """Return an event of the exchange "orders" that is published now."""
    return ExchangeEvent(
        id=id, exchange="orders", key=key, body=encode_value({"id": id}), at=desk.clock.time(), **options
    )


def large(desk: Desk, id: str) -> ExchangeEvent:
    """Return an event that no store takes."""
    return structs.replace(event(desk, id), body=encode_value("x" * (DEFAULTS.max_body + COPY_ROOM)))


async def publish(desk: Desk, id: str, key: str = "paid", **options: Any) -> Routed:
    """Publish one event; return what became of it."""
    return (await desk.store.publish_events([event(desk, id, key, **options)]))[0]


def queues_of(routed: Routed) -> list[str]:
    """Return the queues of the copies that were stored now."""
    return [each.queue for each in routed.copies if isinstance(each.answer, Accepted)]


async def test_nothing_is_declared_at_first(desk: Desk) -> None:
    assert await desk.store.bindings() == Bindings()
    assert await desk.store.publish_events([]) == []
    with pytest.raises(
        ConfigurationError, match=r"exchange 'orders' is not declared .*: declare it with app\.exchange\("
    ):
        await publish(desk, "1")


async def test_what_is_declared_is_read_back_in_order(desk: Desk) -> None:
    headers = bound(
        "mail", to="other", arguments={"x-match": "any", "vip": True, "n": 1, "x": 1.0, "none": None}, redacted=True
    )
    billing = bound("billing", "paid", priority="high", expires=60.0)
    topology = Topology(
        (Queue(name="mail"), Queue(name="billing")),
        "shop",
        exchanges=(Exchange(name="other", type="headers", unroutable="keep"), Exchange(name="orders", type="direct")),
        bindings=(headers, billing),
    )
    await desk.store.declare(topology)
    first = await desk.store.bindings()
    assert first.exchanges == (topology.exchanges[1], topology.exchanges[0])
    assert first.bindings == (billing, headers)
    assert json.encode(first.bindings[1].arguments) == json.encode(headers.arguments)
    assert first.version > 0
    await desk.store.declare(topology)
    assert await desk.store.bindings() == first


async def test_a_copy_is_a_job_with_the_event_as_its_argument(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid", redacted=True, priority="high"))
    routed = await publish(desk, "e1", headers={"source": "web", "vip": True, "n": 1.5, "no": None})
    id_ = copy_id("orders", "e1", "billing")
    assert routed == Routed((Copy("billing", id_, ACCEPTED, "on_billing"),))
    (record,) = await desk.store.get([id_])
    assert record is not None
    assert record.args == {"order": "[redacted]"}
    (delivery,) = await desk.claim("billing")
    copy = delivery.message
    assert (copy.id, copy.kind, copy.priority) == (id_, "on_billing", "high")
    assert json.decode(copy.args) == {"order": {"id": "e1"}}
    assert copy.headers == {
        "source": "web",
        "vip": "true",
        "n": "1.5",
        "no": "null",
        "outlast-exchange": "orders",
        "outlast-key": "paid",
        "outlast-event": "e1",
    }
    assert copy.enqueued_at == copy.run_at == pytest.approx(desk.clock.time())
    assert await desk.finish(id_) == []


@pytest.mark.parametrize(
    ("type", "bindings", "taken"),
    [
        ("direct", {"billing": "paid", "mail": "sent"}, ["billing"]),
        ("topic", {"billing": "order.*.paid", "mail": "order.#", "stock": "order.us.*"}, ["billing", "mail"]),
        ("fanout", {"billing": "", "mail": "x"}, ["billing", "mail"]),
    ],
)
async def test_a_key_finds_the_queues(
    desk: Desk, type: ExchangeType, bindings: Mapping[str, str], taken: list[str]
) -> None:
    await declare(desk, *(bound(queue, key) for queue, key in bindings.items()), type=type)
    assert queues_of(await publish(desk, "1", "paid" if type == "direct" else "order.eu.paid")) == taken


async def test_headers_find_the_queues(desk: Desk) -> None:
    def rule(queue: str, match: str, **headers: HeaderValue) -> Binding:
        return bound(queue, arguments={"x-match": match, **headers})

    await declare(
        desk,
        rule("all", "all", vip=True, eu=1),
        rule("any", "any", vip=True, eu=1),
        rule("none", "any", us=1),
        type="headers",
    )
    assert queues_of(await publish(desk, "1", headers={"vip": True, "eu": 1})) == ["all", "any"]
    assert queues_of(await publish(desk, "2", headers={"vip": True})) == ["any"]


async def test_a_queue_gets_one_copy_however_many_bindings_take_the_event(desk: Desk) -> None:
    await declare(desk, bound("mail", "#"), bound("mail", "order.*"), bound("mail", "order.paid"), type="topic")
    assert queues_of(await publish(desk, "1", "order.paid")) == ["mail"]
    assert (await desk.store.stats(["mail"]))["mail"].depth == 1


async def test_a_repeated_event_is_completed_and_makes_no_second_copy(desk: Desk) -> None:
    await declare(desk, bound("billing"), type="fanout")
    first = await publish(desk, "1")
    await declare(desk, bound("billing"), bound("mail"), type="fanout")
    again = await publish(desk, "1")
    assert [each.id for each in again.copies] == [first.copies[0].id, copy_id("orders", "1", "mail")]
    billing = again.copies[0].answer
    assert isinstance(billing, Exists)
    assert (billing.id, billing.by) == (first.copies[0].id, "id")
    assert queues_of(again) == ["mail"]
    assert queues_of(await publish(desk, "2")) == ["billing", "mail"]


async def test_an_event_is_known_as_long_as_the_ids_of_its_copies(desk: Desk) -> None:
    await declare(desk, bound("billing"), type="fanout")
    (copy,) = (await publish(desk, "1")).copies
    assert await desk.ids("billing") == [copy.id]
    await desk.finish(copy.id)
    assert queues_of(await publish(desk, "1")) == []


async def test_a_full_queue_does_not_stop_the_others(desk: Desk) -> None:
    await declare(desk, bound("billing"), bound("mail"), type="fanout")
    await desk.declare("billing", max_depth=1)
    assert queues_of(await publish(desk, "1")) == ["billing", "mail"]
    second = await publish(desk, "2")
    assert queues_of(second) == ["mail"]
    refused = second.copies[0].answer
    assert isinstance(refused, Full)
    assert refused.bound == "max_depth"
    assert refused.retry_after > 0
    (held,) = await desk.ids("billing")
    await desk.finish(held)
    assert queues_of(await publish(desk, "2")) == ["billing"]


async def test_a_body_that_one_queue_does_not_take_reaches_the_others(desk: Desk) -> None:
    await declare(desk, bound("billing"), bound("mail"), type="fanout")
    await desk.declare("billing", max_bytes=5)
    routed = await publish(desk, "1")
    assert queues_of(routed) == ["mail"]
    assert isinstance(routed.copies[0].answer, TooLarge)


async def test_a_body_that_the_store_does_not_take_is_told_of_each_copy(desk: Desk) -> None:
    await declare(desk, bound("billing"), bound("mail"), type="fanout")
    (routed,) = await desk.store.publish_events([large(desk, "1")])
    assert [(each.queue, type(each.answer)) for each in routed.copies] == [("billing", TooLarge), ("mail", TooLarge)]
    mixed = await desk.store.publish_events([event(desk, "2"), large(desk, "3"), event(desk, "4")])
    assert [queues_of(each) for each in mixed] == [["billing", "mail"], [], ["billing", "mail"]]


async def test_an_event_of_the_most_bytes_is_stored_whatever_its_argument_is_called(desk: Desk) -> None:
    longer = structs.replace(bound("mail"), parameter="a" * 200)
    await declare(desk, bound("billing"), longer, type="fanout")
    most = structs.replace(event(desk, "1"), body=encode_value("x" * (DEFAULTS.max_body - 2)))
    (routed,) = await desk.store.publish_events([most])
    assert queues_of(routed) == ["billing", "mail"]


async def test_an_event_of_the_most_bytes_is_kept_with_its_key_and_headers(desk: Desk) -> None:
    await declare(desk, bound("billing", "other"), unroutable="keep")
    headers: dict[str, HeaderValue] = {f"\x01{n}": "\x01" * 100 for n in range(65)}
    most = structs.replace(
        event(desk, "1", "\x01" * 255, headers=headers), body=encode_value("x" * (DEFAULTS.max_body - 2))
    )
    (routed,) = await desk.store.publish_events([most])
    assert queues_of(routed) == ["orders-unroutable"]
    assert routed.kept


async def test_concurrent_publishes_are_answered_each(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"), bound("mail", "sent"))
    await desk.declare("billing", max_depth=20)
    plain = [desk.store.publish([desk.message(f"billing.{n}")]) for n in range(5)]
    events = [publish(desk, str(n), ("paid", "sent", "lost")[n % 3]) for n in range(60)]
    answers = await asyncio.gather(*plain, *events)
    routed = [each for each in answers if isinstance(each, Routed)]
    assert [[copy.queue for copy in each.copies] for each in routed] == [
        [["billing"], ["mail"], []][n % 3] for n in range(60)
    ]
    assert all(queues_of(each) == ["mail"] for each in routed[1::3])
    paid = sum(queues_of(each) == ["billing"] for each in routed[::3])
    assert paid + sum(each == [ACCEPTED] for each in answers) == 20
    stats = await desk.store.stats(TWO)
    assert (stats["billing"].depth, stats["mail"].depth) == (20, 20)


async def test_a_binding_is_declared_among_publishes(two: tuple[Desk, Desk]) -> None:
    """Once the declaration is answered, no event misses the queue."""
    one, other = two
    await declare(one, bound("billing"), type="fanout")
    declared = False

    async def binds() -> None:
        nonlocal declared
        await declare(other, bound("mail"), type="fanout", app="post")
        declared = True

    async def publishes(name: str) -> list[str]:
        """Publish until the binding is declared, and once more; return the queues of the last event."""
        n = 0
        while not declared:
            await publish(one, f"{name}-{n}")
            n += 1
        return queues_of(await publish(one, f"{name}-last"))

    _, *found = await asyncio.gather(binds(), *(publishes(f"p{n}") for n in range(10)))
    assert found == [["billing", "mail"]] * 10


async def test_an_event_that_no_binding_takes_is_not_stored(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"))
    assert await publish(desk, "1", "sent") == Routed()
    assert (await desk.store.stats(["billing"]))["billing"].depth == 0


async def test_an_event_that_no_binding_takes_is_kept_where_declared(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"), unroutable="keep")
    routed = await publish(desk, "1", "sent", headers={"n": 1})
    id_ = copy_id("orders", "1", "orders-unroutable")
    assert routed == Routed((Copy("orders-unroutable", id_, ACCEPTED, "orders-unroutable"),), kept=True)
    (delivery,) = await desk.claim("orders-unroutable")
    assert delivery.message.kind == "orders-unroutable"
    assert json.decode(delivery.message.args) == {"event": {"id": "1"}, "key": "sent", "headers": {"n": 1}}
    again = await publish(desk, "1", "sent", headers={"n": 1})
    assert again.kept
    assert isinstance(again.copies[0].answer, Exists)
    assert queues_of(await publish(desk, "1", "paid")) == ["billing"]


async def test_many_events_are_answered_in_order(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"), bound("mail", "sent"))
    events = [event(desk, str(n), ("paid", "sent", "lost")[n % 3]) for n in range(1200)]
    answers = await desk.store.publish_events(events)
    assert [queues_of(each) for each in answers] == [[["billing"], ["mail"], []][n % 3] for n in range(1200)]
    stats = await desk.store.stats(TWO)
    assert (stats["billing"].depth, stats["mail"].depth) == (400, 400)


async def test_an_event_of_very_many_queues_is_one_step(desk: Desk) -> None:
    names = [f"q{n:03}" for n in range(60)]
    await declare(desk, *map(bound, names), type="fanout")
    routed = await desk.store.publish_events([event(desk, str(n)) for n in range(20)])
    assert [queues_of(each) for each in routed] == [names] * 20


async def test_the_earlier_of_two_expiries_counts(desk: Desk) -> None:
    now = desk.clock.time()
    await declare(desk, bound("billing", expires=60.0), bound("mail"), type="fanout")
    await publish(desk, "1", expires_at=now + 100)
    await publish(desk, "2", expires_at=now + 10)
    await publish(desk, "3")
    taken = {each.message.id: each.message.expires_at for each in await desk.claim(*TWO)}
    left = [
        [None if (at := taken[copy_id("orders", n, queue)]) is None else round(at - now) for queue in TWO]
        for n in "123"
    ]
    assert left == [[60, 100], [10, 10], [60, None]]


async def test_a_binding_that_another_process_declares_counts_at_once(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await declare(one, bound("billing", "paid"))
    assert queues_of(await publish(one, "1")) == ["billing"]
    await declare(other, bound("mail", "paid"), app="post")
    assert queues_of(await publish(one, "2")) == ["billing", "mail"]
    assert await one.store.bindings() == await other.store.bindings()
    await declare(other, bound("mail", "lost"), app="post")
    assert queues_of(await publish(one, "3", "lost")) == ["mail"]
    assert await other.store.unbind([bound("mail", "lost")], []) == 1
    assert await publish(one, "4", "lost") == Routed()


async def test_an_exchange_that_another_process_declares_is_found(two: tuple[Desk, Desk]) -> None:
    one, other = two
    with pytest.raises(ConfigurationError, match="not declared"):
        await publish(one, "1")
    await declare(other, bound("billing", "paid"))
    assert queues_of(await publish(one, "1")) == ["billing"]


async def test_two_processes_that_declare_at_once_lose_nothing(two: tuple[Desk, Desk]) -> None:
    desks = two * 5
    await asyncio.gather(*(declare(desk, bound(f"q{n}"), type="fanout") for n, desk in enumerate(desks)))
    assert [each.queue for each in (await two[0].store.bindings()).bindings] == [f"q{n}" for n in range(10)]
    assert queues_of(await publish(two[1], "1")) == [f"q{n}" for n in range(10)]


async def test_two_processes_publish_one_event_once(two: tuple[Desk, Desk]) -> None:
    await declare(two[0], bound("billing"), bound("mail"), type="fanout")
    answers = await asyncio.gather(*(publish(desk, "1") for desk in two * 4))
    assert sorted(queue for each in answers for queue in queues_of(each)) == ["billing", "mail"]


async def test_two_apps_share_an_exchange(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"))
    await declare(desk, structs.replace(bound("mail", "paid"), app="post"), app="post")
    assert queues_of(await publish(desk, "1")) == ["billing", "mail"]
    assert {each.queue: each.app for each in (await desk.store.bindings()).bindings} == {
        "billing": "shop",
        "mail": "post",
    }


async def test_an_exchange_keeps_its_type(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"))
    before = await desk.store.bindings()
    with pytest.raises(
        ConfigurationError,
        match=r"exchange 'orders' has type='direct' in this store, and is declared with type='topic': ",
    ):
        await declare(desk, bound("mail", "paid"), type="topic")
    with pytest.raises(ConfigurationError, match="has unroutable='refuse' in this store"):
        await declare(desk, bound("mail", "paid"), unroutable="keep")
    assert await desk.store.bindings() == before
    assert "mail" not in await desk.store.stats([])


async def test_a_queue_of_another_app_is_not_bound(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"))
    before = await desk.store.bindings()
    with pytest.raises(ConfigurationError, match="belongs to app 'shop'"):
        await declare(desk, bound("billing", "lost"), app="post")
    assert await desk.store.bindings() == before


async def test_a_binding_to_what_is_not_declared_is_refused(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="queue 'mail' is bound to exchange 'orders', which is not declared"):
        await desk.store.declare(Topology((), "shop", bindings=(bound("mail", "paid"),)))
    assert await desk.store.bindings() == Bindings()


async def test_bindings_are_added_and_follow_the_newest_kind(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"))
    newer = structs.replace(bound("billing", "sent"), kind="on_billing@2", parameter="event", priority="low")
    await declare(desk, newer)
    assert (await desk.store.bindings()).bindings == (structs.replace(newer, key="paid"), newer)
    routed = await publish(desk, "1", "paid")
    assert routed.copies[0].kind == "on_billing@2"


async def test_what_is_unbound_gets_no_more_events(desk: Desk) -> None:
    await declare(desk, bound("billing", "paid"), bound("mail", "paid"))
    assert queues_of(await publish(desk, "1")) == ["billing", "mail"]
    version = (await desk.store.bindings()).version
    assert await desk.store.unbind([bound("mail", "paid"), bound("mail", "lost")], ["orders"]) == 1
    left = await desk.store.bindings()
    assert ([each.name for each in left.exchanges], left.bindings) == (["orders"], (bound("billing", "paid"),))
    assert left.version > version
    assert queues_of(await publish(desk, "2")) == ["billing"]
    assert await desk.store.unbind([bound("mail", "paid")], ["lost"]) == 0
    assert (await desk.store.bindings()).version == left.version
    assert await desk.store.unbind([bound("billing", "paid")], ["orders"]) == 2
    with pytest.raises(ConfigurationError, match="not declared"):
        await publish(desk, "3")
    await declare(desk, bound("billing"), type="fanout")
    assert queues_of(await publish(desk, "3")) == ["billing"]


async def test_copies_wake_a_claim_that_waits(desk: Desk) -> None:
    await declare(desk, bound("billing"), type="fanout")
    waiting = asyncio.create_task(desk.ids("billing", wait=30))
    await asyncio.sleep(0)
    (copy,) = (await publish(desk, "1")).copies
    assert await asyncio.wait_for(waiting, 20) == [copy.id]
