"""Exchanges as operators see them, and what a prune takes."""

from __future__ import annotations

from outlast.admin.exchanges import exchanges_of, prune, route_of, statuses_of, undeclared_of
from outlast.brokers.memory import MemoryStore
from outlast.core.exchanges.values import Binding, Bindings, Exchange
from outlast.core.policy import DEFAULTS
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock

ORDERS, OLD = Exchange(name="orders"), Exchange(name="old", type="fanout", unroutable="keep")


def bound(queue: str, key: str = "", exchange: str = "orders", app: str = "shop", kind: str = "k") -> Binding:
    return Binding(exchange=exchange, queue=queue, kind=kind, parameter="event", key=key, app=app)


PAID, ALL, SENT, FOREIGN = (
    bound("mail", "paid"),
    bound("mail", "#"),
    bound("bill", "sent"),
    bound("x", "#", app="other"),
)
KNOWN = Bindings(7, (OLD, ORDERS), (PAID, ALL, SENT, FOREIGN))


def declared(*parts: Exchange | Binding) -> Topology:
    return Topology(
        app="shop",
        exchanges=tuple(each for each in parts if isinstance(each, Exchange)),
        bindings=tuple(each for each in parts if isinstance(each, Binding)),
    )


def test_what_is_told_of_exchanges() -> None:
    old, orders, young = statuses_of(
        KNOWN,
        declared(ORDERS, PAID, bound("new", "paid"), Exchange(name="young", type="direct")),
        {"old-unroutable": QueueStats(depth=3), "mail": QueueStats(depth=9)},
    )
    assert (old.exchange, old.queues, old.kept, old.stored, old.declared) == (OLD, [], 3, OLD, None)
    assert (orders.queues, orders.kept, orders.declared) == (["bill", "mail", "x"], 0, ORDERS)
    assert (orders.bindings, orders.new) == ((PAID, ALL, SENT, FOREIGN), (bound("new", "paid"),))
    assert (young.exchange.type, young.stored, young.bindings) == ("direct", None, ())


def test_a_binding_whose_kind_has_another_version_is_not_new() -> None:
    (orders,) = statuses_of(Bindings(1, (ORDERS,), (PAID,)), declared(ORDERS, bound("mail", "paid", kind="k@2")), {})
    assert orders.new == ()
    assert (
        undeclared_of(Bindings(1, (ORDERS,), (PAID,)), declared(ORDERS, bound("mail", "paid", kind="k@2"))).bindings
        == ()
    )


def test_where_an_event_would_go() -> None:
    route = route_of(KNOWN, "orders", "paid", {})
    assert (route.exchange, route.queues, len(route.why)) == (ORDERS, ("mail", "x"), 4)
    assert route.fate == "refused"
    assert route_of(KNOWN, "old", "", {}).fate == "kept in old-unroutable"


def test_only_what_this_app_declared_is_undeclared() -> None:
    found = undeclared_of(KNOWN, declared(ORDERS, PAID))
    assert (found.bindings, found.exchanges, found.bound) == ((ALL, SENT), ("old",), {})
    nothing = undeclared_of(KNOWN, declared(ORDERS, OLD, PAID, ALL, SENT))
    assert (nothing.bindings, nothing.exchanges, nothing.bound) == ((), (), {})


def test_an_exchange_is_free_when_the_last_binding_goes() -> None:
    known = Bindings(1, (ORDERS,), (PAID, SENT))
    assert undeclared_of(known, declared()).exchanges == ("orders",)
    assert undeclared_of(known, declared(ORDERS)).exchanges == ()
    assert undeclared_of(KNOWN, declared()).exchanges == ("old",)


def test_an_exchange_that_is_declared_otherwise_goes_with_all_bindings_of_the_app() -> None:
    other = Exchange(name="orders", type="direct")
    found = undeclared_of(Bindings(1, (ORDERS,), (PAID, SENT)), declared(other, PAID))
    assert (found.bindings, found.exchanges, found.bound) == ((PAID, SENT), ("orders",), {})
    kept = undeclared_of(KNOWN, declared(OLD, other, PAID))
    assert (kept.bindings, kept.exchanges, kept.bound) == ((PAID, ALL, SENT), (), {"orders": ("other",)})


async def test_a_prune_removes_bindings_and_the_exchanges_that_are_named() -> None:
    broker = MemoryStore(clock=FakeClock(), max_body=DEFAULTS.max_body)
    store = Store.of(broker, "memory:")
    await broker.open()
    queues = tuple(Queue(name=name) for name in ("mail", "bill"))
    await broker.declare(Topology(queues, "shop", exchanges=(ORDERS, OLD), bindings=(PAID, SENT)))
    found = undeclared_of(await broker.bindings(), declared(PAID, ORDERS))
    assert await prune(store, found, []) == 1
    assert [each.exchange.name for each in await exchanges_of(store, Topology())] == ["old", "orders"]
    assert await prune(store, undeclared_of(await broker.bindings(), declared(PAID, ORDERS)), ["old", "orders"]) == 1
    left = await broker.bindings()
    assert (left.exchanges, left.bindings) == ((ORDERS,), (PAID,))
    await broker.close()
