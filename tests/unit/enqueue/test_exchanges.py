"""Events of an app: bindings of its jobs, and what a publish returns and raises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from outlast import (
    BodyTooLarge,
    ConfigurationError,
    Context,
    EnqueueUnknown,
    EventIncomplete,
    EventUnroutable,
    InvalidArguments,
    JobEnqueued,
    JobRefused,
    JobRouter,
    Outlast,
    PublishedEvent,
    QueueFull,
    Redacted,
    Settings,
    StoreUnavailable,
    WrongThread,
)
from outlast.brokers.memory.store import MemoryStore
from outlast.core.errors import StoreUncertain
from outlast.core.events import Event
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.values import ExchangeEvent, Routed


class Order(BaseModel):
    id: int
    total: float


@dataclass
class Sent:
    id: int


@dataclass
class Loose:
    x: Any


class Shop:
    """An app whose exchange `orders` three queues are bound to, and what their handlers got."""

    def __init__(self, **settings: Any) -> None:
        self.app = Outlast("shop", settings=Settings(**settings) if settings else None)
        self.orders = self.app.exchange("orders")
        self.got: list[Any] = []
        self.told: list[Event] = []

        @self.app.job(queue="billing", on=self.orders.binding("order.*.paid"), priority="high")
        async def bill(ctx: Context, order: Order) -> None:
            self.got.append(("bill", order, dict(ctx.headers)))

        @self.app.job(queue="mail", on=[self.orders.binding("order.#"), self.orders.binding("*.eu.*")])
        def send(event: dict[str, Any], copies: int = 1) -> None:
            self.got.append(("send", event, copies))

        @self.app.job(queue="vault", on=self.orders.binding("secret"))
        async def keep(word: Annotated[str, Redacted]) -> None:
            self.got.append(("keep", word))

        self.bill, self.send, self.keep = bill, send, keep
        self.app.observe(self.told.append)


async def test_each_bound_queue_runs_its_copy() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        event = await shop.orders.publish("order.eu.paid", Order(id=7, total=9.5), headers={"source": "web", "n": 1})
        assert (event.exchange, event.kept, event.native, event.refused, event.durability) == (
            "orders", False, False, {}, "memory",
        )  # fmt: skip
        assert list(event.copies) == ["billing", "mail"]
        assert {queue: handle.id for queue, handle in event.copies.items()} == {
            queue: copy_id("orders", event.id, queue) for queue in ("billing", "mail")
        }
        assert all(handle.created and handle.durability == "memory" for handle in event.copies.values())
        t.assert_enqueued(shop.bill, order=Order(id=7, total=9.5))
        assert [await handle.status() for handle in event.copies.values()] == ["ready", "ready"]
        await t.drain()
        headers = {"source": "web", "n": "1", "outlast-exchange": "orders", "outlast-key": "order.eu.paid"}
        assert sorted(shop.got, key=lambda each: str(each[0])) == [
            ("bill", Order(id=7, total=9.5), {**headers, "outlast-event": event.id}),
            ("send", {"id": 7, "total": 9.5}, 1),
        ]
        assert [await handle.status() for handle in event.copies.values()] == ["succeeded", "succeeded"]
    enqueued = [each for each in shop.told if isinstance(each, JobEnqueued)]
    assert [(each.id, each.queue, each.kind) for each in enqueued] == [
        (event.copies["billing"].id, "billing", "bill"),
        (event.copies["mail"].id, "mail", "send"),
    ]


async def test_an_event_of_the_same_id_is_published_once() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        first = await shop.orders.publish("order.us.paid", Order(id=1, total=1), id="pay-1")
        again = await shop.orders.publish("order.us.paid", Order(id=1, total=1), id="pay-1")
        assert (first.id, again.id) == ("pay-1", "pay-1")
        assert again.copies == first.copies
        assert [handle.created for handle in again.copies.values()] == [False, False]
        assert len(t.enqueued()) == 2


async def test_the_kinds_of_bodies() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        for body in (Sent(3), {"id": 3}, {"deep": [{"a": None}]}):
            await shop.orders.publish("order", body)
        await t.drain()
        assert [each[1] for each in shop.got] == [{"id": 3}, {"id": 3}, {"deep": [{"a": None}]}]
        await shop.orders.publish("secret", "word")
        (record,) = await t.drain()
        assert record.args == {"word": "[redacted]"}
        assert shop.got[-1] == ("keep", "word")


async def test_what_does_not_fit_a_handler_is_dead_there_only() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        await shop.orders.publish("order.eu.paid", {"id": "x"})
        states = {record.kind: (record.state, record.reason) for record in await t.drain()}
    assert states["send"] == ("succeeded", None)
    assert states["bill"][0] == "dead"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            ("order", {1: 2}),
            InvalidArguments,
            r"event for exchange 'orders': .*: publish a model or a dataclass whose fields have exact types, or",
        ),
        (("order", {"a": [object()]}), InvalidArguments, "event for exchange 'orders'"),
        *(
            (
                ("order", {"a": [1, {"x": number}]}),
                InvalidArguments,
                r"'orders': event\['a'\]\[1\]\['x'\]: a float that "
                r"is not finite \(NaN or infinity\) .*: publish .*\(text, finite numbers,",
            )
            for number in (math.nan, math.inf, -math.inf)
        ),
        (("order", math.nan), InvalidArguments, "'orders': event: a float that is not finite"),
        (("order", Loose(math.nan)), InvalidArguments, "'orders': event.x: a float that is not finite"),
        (("order", object()), InvalidArguments, "its value has no JSON form that reads back"),
        (("x" * 256, 1), ConfigurationError, "256 bytes"),
        ((None, 1), ConfigurationError, "key=None must be text"),
        (("order", 1, {"headers": {"outlast-x": 1}}), ConfigurationError, "reserved"),
        (("order", 1, {"headers": {"a": []}}), ConfigurationError, "give text, a number, a bool or None"),
        (("order", 1, {"id": "two words"}), InvalidArguments, "id='two words': use 1 to 128"),
        (("order", 1, {"id": ""}), InvalidArguments, "use 1 to 128"),
        (("order", 1, {"expires": 0}), ConfigurationError, "expires=0"),
        (("order", 1, {"expiry": 1}), ConfigurationError, r"publish has no option expiry=: did you mean expires=\?"),
    ],
)
async def test_what_is_refused_before_anything_is_stored(call: Any, error: type[Exception], text: str) -> None:
    shop = Shop()
    options = call[2] if len(call) > 2 else {}
    with shop.app.testing() as t:
        with pytest.raises(error, match=text):
            await shop.orders.publish(*call[:2], **options)
        t.assert_not_enqueued()


async def test_a_body_that_is_too_deep_or_too_large_is_refused() -> None:
    shop = Shop(max_body=1000)
    deep: Any = []
    for _ in range(198):
        deep = [deep]
    with shop.app.testing() as t:
        await shop.orders.publish("order", deep)
        with pytest.raises(InvalidArguments, match="event for exchange 'orders'"):
            await shop.orders.publish("order", [deep])
        with pytest.raises(
            BodyTooLarge, match=r"event for exchange 'orders' has a body of 1002 bytes, .* max_body=1000"
        ):
            await shop.orders.publish("order", "x" * 1000)
        assert len(t.enqueued()) == 1


async def test_an_event_that_no_binding_takes_is_refused() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        with pytest.raises(EventUnroutable, match=r"no binding of exchange 'orders' .* key 'lost' .*`outlast route`"):
            await shop.orders.publish("lost", 1)
        with pytest.raises(EventUnroutable) as caught:
            await shop.orders.publish("lost", 1, id="e1")
        assert (caught.value.exchange, caught.value.key, caught.value.id) == ("orders", "lost", "e1")
        assert caught.value.stored == ()
        assert [each.id for each in caught.value.unstored] == ["e1"]
        t.assert_not_enqueued()


async def test_an_event_that_no_binding_takes_is_kept_for_a_handler() -> None:
    app = Outlast("shop")
    audit = app.exchange("audit", type="direct", unroutable="keep")
    got: list[Any] = []
    with app.testing() as t:
        event = await audit.publish("lost", {"a": 1}, headers={"n": 1})
        assert event.kept
        assert list(event.copies) == ["audit-unroutable"]
        assert await event.copies["audit-unroutable"].status() == "ready"

        @app.job(kind="audit-unroutable", queue="audit-unroutable")
        async def look(event: Any, key: str, headers: dict[str, Any]) -> None:
            got.append((event, key, headers))

        await t.drain()
    assert got == [({"a": 1}, "lost", {"n": 1})]


async def test_a_full_queue_is_told_and_the_others_have_their_copies() -> None:
    shop = Shop()
    shop.app.queue("billing", max_depth=1)
    with shop.app.testing() as t:
        await shop.orders.publish("order.eu.paid", Order(id=1, total=1))
        with pytest.raises(EventIncomplete) as caught:
            await shop.orders.publish("order.eu.paid", Order(id=2, total=1), id="second")
        error = caught.value
        assert isinstance(error.refused["billing"], QueueFull)
        assert (error.exchange, error.id, list(error.refused)) == ("orders", "second", ["billing"])
        assert error.retry_after == error.refused["billing"].retry_after
        assert isinstance(error.published, PublishedEvent)
        assert error.published.refused == error.refused
        assert list(error.published.copies) == ["mail"]
        assert error.stored == (copy_id("orders", "second", "mail"),)
        assert [each.id for each in error.unstored] == ["second"]
        assert "not stored for 'billing', and is for the other queues: " in str(error)
        assert "id='second' in" in str(error)
        assert await error.published.copies["mail"].status() == "ready"
        refusals = [each for each in shop.told if isinstance(each, JobRefused)]
        assert [(each.id, each.reason) for each in refusals] == [(copy_id("orders", "second", "billing"), "full")]
        await t.drain()
        done = await shop.orders.publish("order.eu.paid", Order(id=2, total=1), id="second")
        assert {queue: handle.created for queue, handle in done.copies.items()} == {"billing": True, "mail": False}


async def test_a_body_that_a_queue_never_takes_is_told_without_a_time() -> None:
    shop = Shop()
    shop.app.queue("billing", max_bytes=10)
    with shop.app.testing(), pytest.raises(EventIncomplete) as caught:
        await shop.orders.publish("order.eu.paid", Order(id=1, total=1))
    assert caught.value.retry_after is None
    assert f"publish it again with id={caught.value.id!r} once it fits; job 'bill'" in str(caught.value)
    assert isinstance(caught.value.refused["billing"], BodyTooLarge)
    assert list(caught.value.published.copies) == ["mail"]


async def test_clients_of_a_full_queue_come_back_one_after_the_other() -> None:
    shop = Shop()
    shop.app.queue("mail", max_depth=4)
    with shop.app.testing() as t:
        for n in range(4):
            await shop.orders.publish("order", n)
        await t.drain()
        for n in range(4):
            await shop.orders.publish("order", n)
        waits: list[float] = []
        for n in range(3):
            with pytest.raises(EventIncomplete) as caught:
                await shop.orders.publish("order", n)
            assert caught.value.retry_after is not None
            waits.append(caught.value.retry_after)
    assert waits == sorted(set(waits))


async def test_many_events_are_published_in_order() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        events = [shop.orders.event(("order", "lost", "order.eu.paid")[n % 3], n, id=str(n)) for n in range(2100)]
        with pytest.raises(EventUnroutable, match="key 'lost'") as caught:
            await shop.orders.publish_many(events)
        assert [each.id for each in caught.value.unstored] == [str(n) for n in range(2100) if n % 3 == 1]
        assert len(caught.value.stored) == 2100
        assert len(t.enqueued()) == 2100
        good = [each for each in events if each.key != "lost"]
        results = await shop.orders.publish_many(iter(good))
        assert [each.id for each in results] == [each.id for each in good]
        assert [len(each.copies) for each in results] == [1, 2] * 700
        assert not any(handle.created for each in results for handle in each.copies.values())
        assert await shop.orders.publish_many([]) == []


async def test_only_events_of_the_exchange_are_published() -> None:
    shop = Shop()
    other = shop.app.exchange("other", type="fanout")
    with shop.app.testing() as t:
        for wrong in (other.event("", 1), shop.send.message({}), 1):
            events: Any = [shop.orders.event("order", 1), wrong]
            with pytest.raises(InvalidArguments, match=r"publish_many: event 1: .* give orders.event\(key, event\)"):
                await shop.orders.publish_many(events)
        not_many: Any = 5
        with pytest.raises(InvalidArguments, match=r"publish_many: 5 is not an iterable of events"):
            await shop.orders.publish_many(not_many)
        t.assert_not_enqueued()


async def test_an_error_in_the_middle_tells_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    real = MemoryStore.publish_events

    async def broken(store: MemoryStore, events: Sequence[ExchangeEvent]) -> list[Routed]:
        if events[0].id == "1000":
            raise StoreUncertain("the connection broke")
        return await real(store, events)

    monkeypatch.setattr(MemoryStore, "publish_events", broken)
    with shop.app.testing():
        events = [shop.orders.event("order", n, id=str(n)) for n in range(1500)]
        with pytest.raises(
            EnqueueUnknown, match=r"event '1000' and 499 more may or may not .*: send the same events"
        ) as caught:
            await shop.orders.publish_many(events)
    assert caught.value.ids == tuple(str(n) for n in range(1000, 1500))
    assert len(caught.value.stored) == 1000
    assert [each.id for each in caught.value.unstored] == [str(n) for n in range(1000, 1500)]


async def test_a_store_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(enqueue_timeout=0.01)

    async def silent(store: MemoryStore, events: Sequence[ExchangeEvent]) -> list[Routed]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(MemoryStore, "publish_events", silent)
    with (
        shop.app.testing(),
        pytest.raises(EnqueueUnknown, match=r"event 'e1' may or may not .* \(enqueue_timeout\)\): repeat with id='e1'"),
    ):
        await shop.orders.publish("order", 1, id="e1")


async def test_an_error_of_the_store_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()

    async def away(store: MemoryStore, events: Sequence[ExchangeEvent]) -> list[Routed]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(MemoryStore, "publish_events", away)
    with shop.app.testing(), pytest.raises(StoreUnavailable) as caught:
        await shop.orders.publish("order", 1, id="e1")
    assert [each.id for each in caught.value.unstored] == ["e1"]


async def test_a_server_that_routes_by_itself_tells_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()

    async def native(store: MemoryStore, events: Sequence[ExchangeEvent]) -> list[Routed]:
        return [Routed(native=True) for _ in events]

    monkeypatch.setattr(MemoryStore, "publish_events", native)
    with shop.app.testing():
        event = await shop.orders.publish("order", 1, id="e1")
    assert (event.id, event.native, event.copies, event.refused) == ("e1", True, {}, {})


async def test_the_spool_keeps_no_events(tmp_path: Path) -> None:
    shop = Shop(url="redis://127.0.0.1:1/0", spool=str(tmp_path / "spool.db"))  # no server listens there
    with pytest.raises(StoreUnavailable):
        await shop.orders.publish("order", 1)
    handle = await shop.send.enqueue({})
    assert handle.durability != "unknown"
    await shop.app.close()


def test_blocking_code_publishes() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        event = shop.orders.publish_sync("order.eu.paid", Order(id=1, total=2), headers={"a": "b"})
        assert list(event.copies) == ["billing", "mail"]
        assert {record.kind for record in t.drain_sync()} == {"bill", "send"}

    async def on_a_loop() -> None:
        with shop.app.testing(), pytest.raises(WrongThread):
            shop.orders.publish_sync("order", 1)

    asyncio.run(on_a_loop())


async def test_events_expire_with_the_earlier_of_two_times() -> None:
    shop = Shop()
    with shop.app.testing() as t:
        await shop.orders.publish("order", 1, expires="10s")
        t.advance(11)
        assert [record.state for record in await t.drain()] == ["expired"]
        assert shop.got == []


async def test_routers_declare_exchanges_and_bindings_in_any_order() -> None:
    events, jobs, app = JobRouter(), JobRouter(queue="mail"), Outlast("shop")
    orders = events.exchange("orders", type="fanout")
    got: list[Any] = []

    @jobs.job(on=orders.binding())
    async def send(order: int) -> None:
        got.append(order)

    with pytest.raises(ConfigurationError, match=r"exchange 'orders' belongs to a JobRouter that no app includes: "):
        await orders.publish("", 1)
    app.include(jobs)
    with pytest.raises(ConfigurationError, match="job 'send' is bound to exchange 'orders' of another app or router"):
        app.registry.topology()
    app.include(events)
    late = events.exchange("late", type="direct")

    @jobs.job(queue="late", on=late.binding("x"))
    async def later(order: int) -> None:
        got.append(-order)

    with app.testing() as t:
        await orders.publish("", 1)
        await late.publish("x", 2)
        await t.drain()
    assert sorted(got) == [-2, 1]


def test_an_exchange_is_declared_once() -> None:
    app = Outlast("shop")
    orders = app.exchange("orders")
    assert (orders.name, orders.type, repr(orders)) == ("orders", "topic", "EventExchange('orders', type='topic')")
    assert app.exchange("orders").exchange == orders.exchange
    with pytest.raises(ConfigurationError, match="'orders' is declared twice"):
        app.exchange("orders", type="direct")
    for wrong in ({"name": "a b"}, {"name": "x", "type": "queue"}, {"name": "x", "unroutable": "drop"}):
        options: Any = wrong
        with pytest.raises(ConfigurationError):
            app.exchange(**options)


@pytest.mark.parametrize(
    ("type", "options", "text"),
    [
        ("topic", {}, r"binding to topic exchange 'orders': give the routing key: orders.binding\('order\.\*\.paid'\)"),
        ("direct", {}, r"give the routing key: orders.binding\('paid'\)"),
        ("headers", {}, r"give the headers: orders.binding\(headers="),
        ("headers", {"key": "x", "headers": {}}, "key='x' has no effect"),
        ("headers", {"headers": [1]}, "must be a dict of names to values"),
        ("headers", {"headers": {"x-match": "any"}}, "give match='any' instead of a header 'x-match'"),
        ("headers", {"headers": {}, "match": "none"}, "x-match='none' must be one of"),
        ("fanout", {"key": "x"}, "key='x' has no effect"),
        ("topic", {"key": "x", "headers": {"a": 1}}, "have no effect"),
        ("topic", {"key": "x", "match": "any"}, "match='any' is only for exchanges with type='headers'"),
        ("topic", {"key": "x" * 256}, "256 bytes"),
    ],
)
def test_a_binding_must_fit_its_exchange(type: Any, options: dict[str, Any], text: str) -> None:
    orders = Outlast("shop").exchange("orders", type=type)
    with pytest.raises(ConfigurationError, match=text):
        orders.binding(**options)


def test_bindings_hold_what_their_type_looks_at() -> None:
    app = Outlast("shop")
    assert app.exchange("t").binding("a.#").key == "a.#"
    assert app.exchange("d", type="direct").binding("").key == ""
    assert app.exchange("f", type="fanout").binding().arguments == {}
    headers = app.exchange("h", type="headers")
    assert headers.binding(headers={"vip": True}).arguments == {"vip": True, "x-match": "all"}
    assert headers.binding(headers={}, match="any-with-x").arguments == {"x-match": "any-with-x"}


def test_a_handler_of_events_takes_the_event() -> None:
    app = Outlast("shop")
    paid = app.exchange("orders").binding("paid")

    async def two(order: int, more: int) -> None: ...
    async def none(ctx: Context) -> None: ...
    async def one(ctx: Context, order: int, more: int = 1) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"job 'two': with on= it must take one argument .* it takes order, more"
    ):
        app.job(on=paid)(two)
    with pytest.raises(ConfigurationError, match=r"job 'none': with on= .* it takes none"):
        app.job(on=paid)(none)
    for name, value in (("key", "order"), ("unique", True), ("max_wait", 5), ("inherit_deadline", True)):
        options: Any = {name: value}
        with pytest.raises(ConfigurationError, match=f"job 'one': {name}= does not apply to the copies of events"):
            app.job(on=paid, **options)(one)
    for wrong in ("paid", [paid, "paid"], 1, None):
        unfit: Any = wrong
        with pytest.raises(ConfigurationError, match=r"job 'one': on=.*: give exchange\.binding\(\.\.\.\)"):
            app.job(on=unfit)(one)
    assert app.registry.declarations == {}
    app.job(on=[])(none)
    app.job(on=paid, key=None, unique=None)(one)
    declaration = app.registry.declarations["one"]
    assert declaration.on == (paid,)
    assert declaration.event is not None
    assert (declaration.event.name, declaration.event.redacted()) == ("order", False)
    with pytest.raises(ConfigurationError, match="both bound to exchange 'orders'"):
        app.job(kind="other", on=paid)(one)
