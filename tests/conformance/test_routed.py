"""Exchanges give the same jobs wherever the events are routed: in a store, on a Cluster, or by RabbitMQ itself."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import json, structs

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.core.codec import encode_value
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent, ExchangeType, HeaderValue
from outlast.core.message import Holder, Message
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Finish
from outlast.core.store.broker import Broker
from outlast.core.store.exchanges import Exchanges
from outlast.core.topology import Queue, Topology
from tests.support.bridge import Bridge, open_bridge
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.stores import CASES

NATIVE = "rabbitmq"
QUEUES = ("audit", "billing", "mail")


class Place:
    """Where events are routed, and where their copies end up."""

    def __init__(self, broker: Broker, exchanges: Exchanges, bridge: Bridge | None = None) -> None:
        self.broker = broker
        self.exchanges = exchanges
        self.bridge = bridge

    async def declare(self, exchange: Exchange, *bindings: Binding) -> None:
        """Declare an exchange with its bindings."""
        queues = tuple(Queue(name=name) for name in (*QUEUES, f"{exchange.name}-unroutable"))
        await self.broker.declare(Topology(queues, "shop", exchanges=(exchange,), bindings=bindings))

    async def jobs(self, events: Sequence[ExchangeEvent]) -> dict[str, list[Message]]:
        """Publish events; return the jobs that come of them by queue, as a worker gets them."""
        routed = await self.exchanges.publish_events(events)
        assert {each.native for each in routed if each.native or each.copies} <= {self.bridge is not None}
        if self.bridge is not None:
            await self.bridge.moved(QUEUES)
        found: dict[str, list[Message]] = {}
        for queue in (*QUEUES, "orders-unroutable"):
            jobs = await self._claimed(queue)
            if jobs:
                found[queue] = jobs
        return found

    async def _claimed(self, queue: str) -> list[Message]:
        """Take all jobs of a queue, without the marks of the bridge."""
        found: list[Message] = []
        while claimed := await self.broker.claim({queue: 1000}, limit=1000, holder=Holder("a"), lease=10, wait=0):
            found += [each.message for each in claimed]
            await self.broker.settle([Finish(each.fence, "succeeded") for each in claimed])
        return [each for each in found if not (each.headers or {})["outlast-event"].startswith("mark-")]


@pytest.fixture(params=[*(case.name for case in CASES), NATIVE])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Each place, fresh."""
    if request.param == NATIVE:
        rabbit = shared_rabbit()
        with rabbit.vhost() as vhost:
            store = MemoryStore(SystemClock(), max_body=DEFAULTS.max_body)
            async with open_bridge(store, rabbit.url_of(vhost)) as bridge:
                yield Place(bridge.store.broker, bridge.store.exchanges, bridge)
        return
    case = next(each for each in CASES if each.name == request.param)
    store_of_case = case.make(tmp_path, SystemClock(), DEFAULTS.max_body)
    await store_of_case.open()
    yield Place(store_of_case, store_of_case)
    await store_of_case.close()


def bound(queue: str, key: str = "", arguments: dict[str, HeaderValue] | None = None, **options: Any) -> Binding:
    """Return a binding to "orders"."""
    return Binding(
        exchange="orders", queue=queue, kind=f"on_{queue}", parameter="order", key=key, arguments=arguments or {},
        app="shop", **options,
    )  # fmt: skip


def event(id: str, key: str = "", **options: Any) -> ExchangeEvent:
    """Return an event of "orders"."""
    return ExchangeEvent(
        id=id, exchange="orders", key=key, body=encode_value({"id": id}), at=float(int(SystemClock().time())), **options
    )


def ids(jobs: dict[str, list[Message]]) -> dict[str, list[str]]:
    """Return the ids of the events by queue."""
    return {queue: [(each.headers or {})["outlast-event"] for each in found] for queue, found in jobs.items()}


async def test_a_copy_is_the_same_job_everywhere(place: Place) -> None:
    await place.declare(Exchange(name="orders"), bound("billing", "a.*", priority="high", expires=60.0, redacted=True))
    sent = event("7", "a.b", headers={"text": "ü", "n": 1, "f": 1.5, "yes": True, "none": None})
    assert await place.jobs([sent]) == {
        "billing": [
            Message(
                id=copy_id("orders", "7", "billing"),
                queue="billing",
                kind="on_billing",
                args=encode_value({"order": {"id": "7"}}),
                enqueued_at=sent.at,
                run_at=sent.at,
                priority="high",
                expires_at=sent.at + 60,
                headers={
                    "text": "ü", "n": "1", "f": "1.5", "yes": "true", "none": "null",
                    "outlast-exchange": "orders", "outlast-key": "a.b", "outlast-event": "7",
                },
                redacted=("order",),
            )
        ]
    }  # fmt: skip


@pytest.mark.parametrize("type", ["direct", "fanout"])
async def test_direct_and_fanout(place: Place, type: ExchangeType) -> None:
    keys = ("paid", "sent") if type == "direct" else ("", "")
    await place.declare(Exchange(name="orders", type=type), bound("billing", keys[0]), bound("mail", keys[1]))
    expected = {"billing": ["1"], "mail": ["2"]} if type == "direct" else {"billing": ["1", "2"], "mail": ["1", "2"]}
    assert ids(await place.jobs([event("1", "paid"), event("2", "sent")])) == expected


async def test_a_queue_gets_one_copy_however_many_bindings_take_an_event(place: Place) -> None:
    bindings = (bound("billing", "#"), bound("billing", "a.*"), bound("billing", "*.b"), bound("mail", "a.b"))
    await place.declare(Exchange(name="orders"), *bindings)
    assert ids(await place.jobs([event("1", "a.b")])) == {"billing": ["1"], "mail": ["1"]}


async def test_repeating_an_event_makes_no_second_job(place: Place) -> None:
    await place.declare(Exchange(name="orders", type="fanout"), bound("billing"))
    assert ids(await place.jobs([event("1"), event("1")])) == {"billing": ["1"]}
    assert await place.jobs([event("1")]) == {}


async def test_an_event_that_no_binding_takes_is_not_stored(place: Place) -> None:
    await place.declare(Exchange(name="orders"), bound("billing", "paid"))
    first, second = await place.exchanges.publish_events([event("1", "lost"), event("2", "paid")])
    assert (first.copies, first.native, bool(second.copies) or second.native) == ((), False, True)


async def test_an_event_that_no_binding_takes_is_kept_where_declared(place: Place) -> None:
    await place.declare(Exchange(name="orders", unroutable="keep"), bound("billing", "paid"))
    jobs = await place.jobs([event("1", "lost", headers={"n": 1}), event("2", "paid")])
    assert ids(jobs) == {"billing": ["2"], "orders-unroutable": ["1"]}
    (kept,) = jobs["orders-unroutable"]
    assert (kept.id, kept.kind) == (copy_id("orders", "1", "orders-unroutable"), "orders-unroutable")
    assert json.decode(kept.args) == {"event": {"id": "1"}, "key": "lost", "headers": {"n": 1}}


@pytest.mark.parametrize("type", ["topic", "headers"])
async def test_random_bindings_and_events(place: Place, type: ExchangeType) -> None:
    rng = random.Random(type)
    words = ("a", "b", "")

    def headers() -> dict[str, HeaderValue]:
        values: tuple[HeaderValue, ...] = (1, 1.0, "1", True, None, 2)
        return {name: rng.choice(values) for name in rng.sample(("n", "m", "x-o"), rng.randrange(1, 3))}

    def binding() -> Binding:
        queue = rng.choice(QUEUES)
        if type == "headers":
            return bound(queue, "", {**headers(), "x-match": rng.choice(("all", "any"))})
        return bound(queue, ".".join(rng.choice((*words, "*", "#")) for _ in range(rng.randrange(1, 4))))

    exchange, bindings = Exchange(name="orders", type=type), [binding() for _ in range(8)]
    await place.declare(exchange, *bindings)
    events = [
        event(str(n), ".".join(rng.choice(words) for _ in range(rng.randrange(1, 4))), headers=headers())
        for n in range(60)
    ]
    router = Router([exchange], bindings)
    expected: dict[str, list[str]] = {}
    for each in events:
        for taken in router.route("orders", each.key, each.headers):
            expected.setdefault(taken.queue, []).append(each.id)
    found = ids(await place.jobs(events))
    assert {queue: sorted(each) for queue, each in found.items()} == {
        queue: sorted(each) for queue, each in expected.items()
    }
    assert sum(map(len, expected.values())) > 20


async def test_an_old_publisher_names_the_job_as_it_knows_it(place: Place) -> None:
    """A new release has stored the binding under another name; RabbitMQ's events get the name that the worker knows."""
    await place.declare(Exchange(name="orders"), bound("mail", "#", aliases=("former",)))
    own = {("mail", "former"): structs.replace(bound("mail", "#"), kind="former")}
    jobs = await place.jobs([event("1", "a", own=own), event("2", "a")])
    kinds = sorted(each.kind for each in jobs["mail"])
    assert kinds == (["former", "on_mail"] if place.bridge is None else ["on_mail", "on_mail"])
