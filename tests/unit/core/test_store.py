"""A store: each part is given where it is there, and refused with the fix where it is not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Exchange
from outlast.core.registry import Registry
from outlast.core.schedule import Scheduled, Spec
from outlast.core.store.broker import Capabilities
from outlast.core.store.features import NEEDS_STORE, Features
from outlast.core.store.store import Store
from outlast.core.topology import Queue, Topology

URL = "amqp://host"
FIX = rf"of amqp://host .*: {re.escape(NEEDS_STORE)}"


class Broker:
    """A broker that notes what was declared."""

    capabilities = Capabilities(durability="memory", max_body=1, shared=False)

    def __init__(self) -> None:
        self.declared: list[Topology] = []

    async def declare(self, topology: Topology) -> None:
        self.declared.append(topology)


def scheduled() -> Registry:
    """Return what an app with a schedule declares."""
    registry = Registry(app="shop")
    registry.schedules["nightly"] = Scheduled(name="nightly", kind="report", spec=Spec(cron="0 5 * * *"))
    return registry


def test_a_store_of_one_object_has_all_parts() -> None:
    whole: Any = object()
    store = Store.of(whole, URL)
    parts = (store.records, store.control, store.schedules, store.guards, store.exchanges, store.totals)
    assert {store.broker, *parts} == {whole}
    assert store.keeps_totals()
    assert store.history is whole
    assert store.keeps_history()
    assert not Store(store.broker, url=URL).keeps_history()
    assert store.keeps_schedules()
    assert store.keeps_exchanges()


@pytest.mark.parametrize("part", ["records", "control", "schedules", "guards", "exchanges", "totals", "history"])
def test_a_part_that_is_missing_is_refused_with_the_fix(part: str) -> None:
    broker: Any = Broker()
    with pytest.raises(ConfigurationError, match=FIX):
        getattr(Store(broker, url=URL), part)


@pytest.mark.parametrize("shared", [False, True])
def test_guards_are_shared_where_processes_share_the_store_and_it_keeps_them(shared: bool) -> None:
    broker: Any = Broker()
    broker.capabilities = Capabilities(durability="memory", max_body=1, shared=shared)
    keeper: Any = object()
    assert Store(broker, guards=keeper, url=URL).shares_guards() is shared
    assert not Store(broker, url=URL).shares_guards()


async def test_a_schedule_is_refused_when_the_app_declares_itself() -> None:
    broker: Any = Broker()
    store = Store(broker, url=URL)
    assert not store.keeps_schedules()
    assert not store.keeps_exchanges()
    assert not store.keeps_totals()
    with pytest.raises(ConfigurationError, match=f"schedule 'nightly': the store {FIX}"):
        await store.declare(scheduled())
    assert broker.declared == []


async def test_an_exchange_is_refused_when_the_app_declares_itself() -> None:
    broker: Any = Broker()
    registry = Registry(app="shop")
    registry.add_exchange(Exchange(name="orders"))
    with pytest.raises(ConfigurationError, match=f"exchange 'orders': the store {FIX}"):
        await Store(broker, url=URL).declare(registry)
    assert broker.declared == []
    publisher: Any = object()
    await Store(broker, exchanges=publisher, url=URL).declare(registry)
    assert [each.exchanges for each in broker.declared] == [(Exchange(name="orders"),)]


async def test_an_app_is_declared_to_the_broker() -> None:
    broker, keeper = Broker(), object()
    parts: dict[str, Any] = {"broker": broker, "schedules": keeper}
    registry = scheduled()
    await Store(url=URL, **parts).declare(registry)
    await Store(url=URL, broker=parts["broker"]).declare(Registry(app="shop"))
    assert broker.declared == [registry.topology(), Registry(app="shop").topology()]


async def test_what_the_broker_cannot_keep_is_refused_before_anything_is_declared() -> None:
    broker: Any = Broker()
    limited = Features(limits=False)
    broker.capabilities = Capabilities(durability="memory", max_body=1, shared=True, features=limited)
    registry = Registry(app="shop")
    registry.add_queue(Queue(name="mail", concurrency=5))
    with pytest.raises(ConfigurationError, match=f"^queue 'mail': concurrency=5: the store {FIX}$"):
        await Store(broker, url=URL).declare(registry)
    assert broker.declared == []


def test_a_bridged_store_keeps_its_parts_and_gets_the_exchanges_of_the_server() -> None:
    whole, broker, exchanges, inbox = (object() for _ in range(4))
    store: Any = Store.of(whole, URL)  # type: ignore[arg-type]
    bridged = store.bridged(broker, exchanges, inbox)
    assert {bridged.records, bridged.control, bridged.schedules, bridged.guards, bridged.history} == {whole}
    assert (bridged.broker, bridged.exchanges, bridged.inbox, bridged.url) == (broker, exchanges, inbox, URL)
    assert store.inbox is None


async def test_a_store_is_asked_for_a_record_or_for_counts_where_it_keeps_none() -> None:
    asked: list[tuple[str, list[str]]] = []

    class Asked:
        async def get(self, ids: list[str]) -> None:
            asked.append(("get", ids))

        async def stats(self, queues: list[str]) -> None:
            asked.append(("stats", queues))

    whole: Any = Asked()
    keeping, carrying = Store(whole, records=whole, url=URL), Store(whole, url=URL)
    assert (keeping.keeps_records(), carrying.keeps_records()) == (True, False)
    await keeping.check()
    await carrying.check()
    assert asked == [("get", ["health.none"]), ("stats", ["health"])]


async def test_a_store_with_a_question_of_its_own_is_asked_that_also_with_other_parts() -> None:
    asked = []

    async def ask() -> None:
        asked.append("asked")

    whole: Any = object()
    store = Store(whole, ask=ask, url=URL)
    await store.check()
    await store.having(broker=whole).check()
    assert asked == ["asked", "asked"]
