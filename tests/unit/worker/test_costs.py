"""What runs cost: summed in memory within a bound, and added to the store once, also when an answer is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import Raw

from outlast.brokers.memory import MemoryStore
from outlast.core.errors import StoreMoved, StoreUnavailable, StoreUncertain
from outlast.core.history import DAY, OTHER, Cost
from outlast.core.store.store import Store
from outlast.meters import meters
from outlast.testing.clock import FakeClock
from outlast.worker.costs import MOST_TENANTS, CostKeeper, CostSums, keeper_of
from outlast.worker.costs_metrics import MOST_SHOWN, TenantCounter
from outlast.worker.run import Run
from outlast.worker.store_link import StoreLink


def run_of(kind: str, key: str | None = None, *, cpu: float = 0.0, args: bytes = b"{}") -> Run:
    """Return a run that has left its slot."""
    message = SimpleNamespace(kind=kind, key=key, args=Raw(args))
    plan = SimpleNamespace(declaration=SimpleNamespace(kind=kind))
    delivery = SimpleNamespace(message=message)
    return cast("Run", SimpleNamespace(delivery=delivery, plan=plan, cpu=cpu, size=len(args)))


class ToldStore(MemoryStore):
    """A store whose additions of costs do what they are told: raise before, or after they were done."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.calls: list[int] = []
        self.hangs = False

    async def add_costs(self, source: str, number: int, costs: Sequence[Cost]) -> bool:
        self.calls.append(number)
        if self.hangs:
            await asyncio.Event().wait()
        if self.before:
            raise self.before.pop(0)
        added = await super().add_costs(source, number, costs)
        if self.after:
            raise self.after.pop(0)
        return added


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> ToldStore:
    return ToldStore(clock)


@pytest.fixture
def keeper(store: ToldStore, clock: FakeClock) -> CostKeeper:
    link = StoreLink(Store.of(store, "memory:"), clock, Random(0), reconnect=None, patience=30)
    found = keeper_of(link, "worker", "shop")
    assert found is not None
    return found


async def kept(store: ToldStore) -> list[tuple[str, str, int]]:
    """Return kind, tenant and runs of what the store has."""
    return [(each.kind, each.tenant, each.runs) for each in await store.costs(90)]


def test_runs_are_summed_by_kind_and_tenant(clock: FakeClock) -> None:
    sums = CostSums(clock)
    sums.ran(run_of("send", "ann", cpu=0.25, args=b'{"a":1}'), 2.0)
    sums.ran(run_of("send", "ann", cpu=0.5), 1.0)
    sums.ran(run_of("send"), -1.0)
    run = run_of("bill", "ann")
    sums.ended(run, Raw(b"[1,2]"))
    sums.ran(run, 1.0)
    assert sums.take() == [
        Cost(kind="send", tenant="ann", runs=2, cpu=0.75, wall=3.0, bytes=9),
        Cost(kind="send", tenant="", runs=1, wall=0.0, bytes=2),
        Cost(kind="bill", tenant="ann", runs=1, wall=1.0, bytes=7),
    ]
    assert sums.take() == []


def test_of_a_day_a_process_tells_so_many_tenants_apart(clock: FakeClock) -> None:
    sums = CostSums(clock)
    for _ in range(2):  # a take forgets the sums, not the tenants
        for number in range(MOST_TENANTS + 50):
            sums.ran(run_of("send", f"t{number}"), 1.0)
        sums.ran(run_of("send"), 1.0)
        found = {each.tenant: each.runs for each in sums.take()}
        assert len(found) == MOST_TENANTS + 2
        assert (found[OTHER], found[""], found["t0"]) == (50, 1, 1)
    clock.advance(DAY)
    sums.take()
    sums.ran(run_of("send", "late"), 1.0)
    assert [each.tenant for each in sums.take()] == ["late"]


async def test_sums_are_added_and_begin_again(keeper: CostKeeper, store: ToldStore) -> None:
    await keeper.flush()
    assert store.calls == []
    for _ in range(2):
        keeper.sums.ran(run_of("send", "ann"), 1.0)
        await keeper.flush()
    assert await kept(store) == [("send", "ann", 2)]


async def test_a_lost_answer_doubles_nothing(keeper: CostKeeper, store: ToldStore) -> None:
    keeper.sums.ran(run_of("send"), 1.0)
    store.after = [StoreUncertain("no answer")]
    await keeper.flush()
    keeper.sums.ran(run_of("send"), 1.0)
    await keeper.flush()
    assert store.calls[0] == store.calls[1]
    await keeper.flush()
    assert await kept(store) == [("send", "", 2)]


async def test_an_outage_is_told_once_and_loses_nothing(
    keeper: CostKeeper, store: ToldStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "outlast.worker"):
        store.before = [StoreUnavailable("it is away")] * 3
        for _ in range(5):
            keeper.sums.ran(run_of("send"), 1.0)
            await keeper.flush()
    assert await kept(store) == [("send", "", 5)] or store.calls[-1] != store.calls[-2]
    await keeper.close()
    assert await kept(store) == [("send", "", 5)]
    assert [each.getMessage().partition(",")[0] for each in caplog.records] == [
        "the store is away",
        "the store is back",
    ]


async def test_a_worker_that_stops_adds_all_of_it(keeper: CostKeeper, store: ToldStore) -> None:
    keeper.sums.ran(run_of("send"), 1.0)
    store.after = [StoreUncertain("no answer")]
    await keeper.flush()
    keeper.sums.ran(run_of("send"), 1.0)
    await keeper.close()
    assert await kept(store) == [("send", "", 2)]


async def test_a_worker_that_stops_waits_for_no_hung_store(
    keeper: CostKeeper, store: ToldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.worker.costs.LAST", 0.01)
    keeper.sums.ran(run_of("send"), 1.0)
    store.hangs = True
    await keeper.close()
    assert await kept(store) == []


async def test_what_cannot_be_kept_stops_no_worker(
    keeper: CostKeeper, store: ToldStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.before = [ValueError("odd"), ValueError("odd")]
    for _ in range(3):
        keeper.sums.ran(run_of("send"), 1.0)
        await keeper.flush()
    assert await kept(store) == [("send", "", 1)]
    assert [each.getMessage() for each in caplog.records] == [
        "the costs of jobs cannot be kept, the jobs go on: ValueError"
    ]


async def test_a_file_that_was_moved_is_left_alone(keeper: CostKeeper, store: ToldStore) -> None:
    store.before = [StoreMoved("it was moved")]
    keeper.sums.ran(run_of("send"), 1.0)
    await keeper.flush()
    await keeper.close()
    assert store.calls == [1]


def test_a_transport_keeps_no_costs(clock: FakeClock) -> None:
    broker: Any = MemoryStore(clock)
    link = StoreLink(Store(broker, url="amqp:"), clock, Random(0), reconnect=None, patience=30)
    assert keeper_of(link, "worker", "shop") is None


async def test_additions_repeat_until_they_are_ended(
    keeper: CostKeeper, store: ToldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.worker.costs.EVERY", 0.0)
    keeper.sums.ran(run_of("send"), 1.0)
    task = asyncio.create_task(keeper.run())
    while not store.calls:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await keeper.close()
    assert [each.runs for each in await store.costs(1)] == [1]


def counted(app: str) -> dict[tuple[str, str], float]:
    """Return what the metric has of an app, by kind and tenant."""
    readings = [each for each in meters.read() if each.metric.name == "outlast_cost_cpu_seconds_total"]
    return {(each.labels[1], each.labels[2]): each.values[0] for each in readings if each.labels[0] == app}


def test_the_metric_tells_the_dearest_tenants_apart_and_never_falls() -> None:
    counter = TenantCounter("costly")
    costs = [Cost(kind="send", tenant=f"t{n}", cpu=float(n)) for n in range(MOST_SHOWN + 5)]
    counter.count([*costs, Cost(kind="send", cpu=0.5), Cost(kind="free", tenant="t1")])
    first = counted("costly")
    assert len(first) == MOST_SHOWN + 2
    assert (first["send", "t24"], first["send", "-"], first["send", OTHER]) == (24.0, 0.5, 0.0 + 1 + 2 + 3 + 4)
    counter.count([Cost(kind="send", tenant="t1", cpu=100.0), Cost(kind="bill", tenant="t24", cpu=1.0)])
    later = counted("costly")
    assert (later["send", OTHER], later["bill", "t24"]) == (110.0, 1.0)
    assert all(later[key] >= value for key, value in first.items())


async def test_what_is_added_is_counted_once(keeper: CostKeeper, store: ToldStore) -> None:
    before = counted("shop").get(("counted", "ann"), 0.0)
    keeper.sums.ran(run_of("counted", "ann", cpu=2.0), 1.0)
    store.before = [StoreUnavailable("it is away")]
    await keeper.flush()
    await keeper.flush()
    assert counted("shop")["counted", "ann"] - before == 2.0
