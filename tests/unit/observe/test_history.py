"""The history of a process: a sample each 10 s, marks, and outages that are told once and stop nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from outlast import Outlast, Settings
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import StoreMoved, StoreUnavailable
from outlast.core.history import STEPS, QueueSample
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store
from outlast.core.store.totals import OUTCOMES
from outlast.core.topology import Queue, Topology
from outlast.observe.history import HistoryKeeper, history_of
from outlast.testing.clock import FakeClock
from outlast.worker.store_link import StoreLink

FINE = STEPS[0]


class OutageStore(MemoryStore):
    """A store that raises what it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.errors: list[Exception] = []
        self.hangs = False
        self.asked = 0

    async def keep_samples(self, samples: Mapping[str, QueueSample]) -> int:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return await super().keep_samples(samples)

    async def add_entries(self, entries: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if self.hangs:
            await asyncio.Event().wait()
        await super().add_entries(entries)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> OutageStore:
    found = OutageStore(clock)
    await found.declare(Topology((Queue(name="mail"), Queue(name="bulk"))))
    return found


@pytest.fixture
def link(store: OutageStore, clock: FakeClock) -> StoreLink:
    return StoreLink(Store.of(store, "memory:"), clock, Random(0), reconnect=None, patience=30)


async def test_a_sample_of_each_queue_is_kept_once_a_slot(
    store: OutageStore, link: StoreLink, clock: FakeClock
) -> None:
    keeper = HistoryKeeper(lambda: link, clock, Random(0))
    assert [await keeper.step(), await keeper.step()] == [4, 0]
    clock.advance(FINE.seconds)
    assert await keeper.step() == 2
    assert {queue: len(each) for queue, each in (await store.samples(FINE)).items()} == {"mail": 2, "bulk": 2}


async def test_samples_come_from_the_sampler_and_have_what_has_ended(
    store: OutageStore, link: StoreLink, clock: FakeClock
) -> None:
    async def sample() -> dict[str, QueueStats]:
        return {"mail": QueueStats(depth=7)}

    async def totals() -> dict[tuple[str, str, str], int]:
        return {("mail", "send", "dead"): 1, ("mail", "bill", "dead"): 2, ("gone", "bill", "dead"): 9}

    keeper = HistoryKeeper(lambda: link, clock, Random(0), sample=sample, totals=totals)
    await keeper.step()
    found = await store.samples(FINE)
    assert {queue: [(each.depth, each.ended) for each in some] for queue, some in found.items()} == {
        "mail": [(7, {"dead": 3})]
    }


async def test_an_outage_is_told_once(
    store: OutageStore, link: StoreLink, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = HistoryKeeper(lambda: link, clock, Random(0))
    store.errors = [StoreUnavailable("it is away")] * 3
    assert [await keeper.step() for _ in range(4)] == [0, 0, 0, 4]
    assert [each.getMessage() for each in caplog.records] == [
        "the store is away, the keeping of samples is repeated until it is back: it is away",
        "the store is back",
    ]


async def test_what_cannot_be_kept_is_told_once_and_stops_nothing(
    store: OutageStore, link: StoreLink, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = HistoryKeeper(lambda: link, clock, Random(0))
    store.errors = [ValueError("odd"), ValueError("odd")]
    assert [await keeper.step() for _ in range(3)] == [0, 0, 4]
    assert [each.getMessage() for each in caplog.records] == [
        "samples of the queues cannot be kept, the jobs go on: ValueError"
    ]


async def test_a_file_that_was_moved_is_left_alone(
    store: OutageStore, link: StoreLink, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = HistoryKeeper(lambda: link, clock, Random(0))
    store.errors = [StoreMoved("it was moved")]
    assert [await keeper.step() for _ in range(3)] == [0, 0, 0]
    assert (store.asked, caplog.records) == (1, [])


async def test_without_a_store_and_without_history_nothing_is_kept(store: OutageStore, clock: FakeClock) -> None:
    keeper = HistoryKeeper(lambda: None, clock, Random(0))
    assert await keeper.step() == 0
    await keeper.mark("workers started")
    transport = StoreLink(Store(store, url="amqp:"), clock, Random(0), reconnect=None, patience=30)
    keeper = HistoryKeeper(lambda: transport, clock, Random(0))
    assert await keeper.step() == 0
    await keeper.mark("workers started")
    assert await store.journal("mark", 10) == []


async def test_marks_say_who_and_what(store: OutageStore, link: StoreLink, clock: FakeClock) -> None:
    keeper = HistoryKeeper(lambda: link, clock, Random(0))
    await keeper.mark("workers started", "4 processes")
    (found,) = await store.journal("mark", 10)
    assert (found.what, found.detail, found.at) == ("workers started", "4 processes", clock.time())
    assert found.who.partition(":")[2].isdigit()


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("odd")])
async def test_a_mark_that_is_not_kept_raises_nothing(
    store: OutageStore, link: StoreLink, clock: FakeClock, error: Exception
) -> None:
    store.errors = [error]
    await HistoryKeeper(lambda: link, clock, Random(0)).mark("workers stopped")
    assert await store.journal("mark", 10) == []


async def test_a_mark_waits_for_no_hung_store(
    store: OutageStore, link: StoreLink, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.observe.history.PATIENCE", 0.01)
    store.hangs = True
    await HistoryKeeper(lambda: link, clock, Random(0)).mark("workers stopped")
    assert await store.journal("mark", 10) == []


async def test_it_goes_on_until_it_is_ended(
    store: OutageStore, link: StoreLink, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.observe.history.EVERY", 0.0)
    store.errors = []
    task = asyncio.create_task(HistoryKeeper(lambda: link, clock, Random(0)).run("2 processes"))
    while store.asked < 3:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [each.detail for each in await store.journal("mark", 10)] == ["2 processes"]
    assert set(await store.samples(FINE)) == {"mail", "bulk"}


async def test_a_process_without_a_supervisor_counts_what_has_ended_too(clock: FakeClock) -> None:
    app = Outlast("shop", settings=Settings(url="memory:"))

    @app.job(queue="mail")
    async def send() -> None: ...

    async with app:
        runtime = await app.runtime()
        await history_of(runtime).step()
        (sample,) = (await runtime.store.history.samples(FINE))["mail"]
    assert sample.ended == dict.fromkeys(OUTCOMES, 0)
