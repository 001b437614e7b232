"""When a sample is taken, and what is shown while the store is away or slow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.brokers.registry import connect
from outlast.core.errors import StoreUnavailable
from outlast.core.store.store import Store
from outlast.core.topology import Queue, Topology
from outlast.observe.declared import DeclaredQueues
from outlast.observe.sampler import LONGEST_SAMPLE, Sampler, stored_totals
from outlast.observe.store_figures import OutcomeTotals
from outlast.testing.clock import FakeClock
from tests.support.fake_time import FakeTime
from tests.support.jobs import message

DECLARED = DeclaredQueues("shop", {"mail": ("send",)})


class Shop:
    """A store of which it is told how long a sample takes, and whether it answers."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.store = Store.of(MemoryStore(FakeClock()), "memory:")
        self.takes = 0.0
        self.opening: Callable[[], Coroutine[None, None, object]] | None = None
        self.samples = 0
        self.looks = 0
        self.sampler = Sampler(self._open, lambda: DECLARED, monotonic=self.time.now, totals=self._totals)

    async def _open(self) -> Store:
        self.looks += 1
        if self.opening is not None:
            await self.opening()
        return self.store

    async def _totals(self, store: Store, queues: Sequence[str]) -> None:
        self.samples += 1
        await asyncio.sleep(self.takes)

    async def fill(self) -> None:
        await self.store.broker.declare(Topology((Queue(name="mail"),), "shop", ("send",)))
        await self.store.broker.publish([message("mail.1", 0)])

    async def depth(self) -> float | None:
        return (await self.shown()).get("outlast_queue_depth")

    async def shown(self) -> dict[str, float]:
        return {each.metric.name: each.values[0] for each in await self.sampler.readings()}

    def run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        async def filled() -> None:
            await self.fill()
            await work()

        self.time.run(filled)


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def lost() -> None:
    raise StoreUnavailable("the server is down")


async def hangs() -> None:
    await asyncio.Event().wait()


def test_one_sample_serves_all_who_ask_within_a_second(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 0.02
        assert [each is not None for each in await asyncio.gather(*(shop.depth() for _ in range(5)))] == [True] * 5
        shop.time.at += 0.9
        assert await shop.depth() == 1
        assert shop.samples == 1
        shop.time.at += 0.1
        await shop.depth()
        assert shop.samples == 2

    shop.run(work)


def test_samples_take_a_twentieth_of_the_time_at_most(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 0.5
        began = shop.time.at
        for _ in range(100):
            assert await shop.depth() == 1, "between two samples the last one is shown"
            shop.time.at += 5.0
        assert shop.samples * shop.takes <= 0.05 * (shop.time.at - began)
        assert shop.samples >= 40
        assert shop.looks == 100, "each question sees whether the store answers"

    shop.run(work)


def test_the_duration_and_the_age_of_the_sample_are_shown(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 0.5
        assert (await shop.shown())["outlast_sample_age_seconds"] == pytest.approx(0.5)
        shop.time.at += 6.5
        shown = await shop.shown()
        assert shown["outlast_sample_seconds"] == pytest.approx(0.5)
        assert shown["outlast_sample_age_seconds"] == pytest.approx(7.0)

    shop.run(work)


def test_a_store_that_is_lost_has_no_figures_at_the_next_question(shop: Shop) -> None:
    async def work() -> None:
        assert await shop.depth() == 1
        shop.opening = lost
        shop.time.at += 1.0
        assert await shop.shown() == {"outlast_store_up": 0}
        assert await shop.sampler.stats() == {}
        shop.opening = None
        shop.time.at += 1.0
        assert await shop.depth() == 1

    shop.run(work)


def test_a_slow_store_that_is_lost_has_none_either(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 1.5
        assert await shop.depth() == 1
        shop.opening = lost
        shop.time.at += 2.0
        assert await shop.shown() == {"outlast_store_up": 0}
        assert shop.samples == 1
        shop.opening = None
        shop.time.at += 1.0
        assert await shop.depth() == 1, "the outage has not made it slower"

    shop.run(work)


async def test_between_two_samples_it_is_seen_that_the_store_is_lost(tmp_path: Path) -> None:
    store = connect(f"sqlite:{tmp_path}/jobs.db", clock=SystemClock(), max_body=1000)
    await store.broker.open()
    moment, samples = [0.0], []

    async def opened() -> Store:
        return store

    async def totals(*_: object) -> None:
        samples.append(moment[0])
        moment[0] += 1.5

    sampler = Sampler(opened, lambda: DECLARED, monotonic=lambda: moment[0], totals=totals)
    assert len(await sampler.readings()) > 1
    moment[0] += 2.0
    assert len(await sampler.readings()) > 1
    (tmp_path / "jobs.db").unlink()
    moment[0] += 2.0
    assert [(each.metric.name, each.values) for each in await sampler.readings()] == [("outlast_store_up", (0,))]
    assert samples == [0.0]
    await store.broker.close()


def test_an_outage_in_which_the_store_hangs_makes_it_no_slower(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 1.5
        assert await shop.depth() == 1
        shop.opening = hangs
        shop.time.at += 2.0
        assert await shop.shown() == {"outlast_store_up": 0}
        shop.opening = None
        assert await shop.depth() == 1

    shop.run(work)


def test_a_store_that_hung_has_its_figures_at_the_first_question_that_it_answers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        for questions in (1, 2, 3, 4):
            with monkeypatch.context() as hanging:
                hanging.setattr(shop.store.broker, "stats", lambda *_: hangs())
                hanging.setattr(shop.store.records, "get", lambda *_: hangs())
                for _ in range(questions):
                    shop.time.at += 5.0
                    assert await shop.shown() == {"outlast_store_up": 0}
            shop.time.at += 5.0
            assert await shop.depth() == 1, questions

    shop.run(work)


def test_a_store_that_hangs_holds_a_question_up_for_a_bounded_time(shop: Shop) -> None:
    async def work() -> None:
        shop.opening = hangs
        began = shop.time.at
        assert await shop.shown() == {"outlast_store_up": 0}
        assert shop.time.at - began == pytest.approx(LONGEST_SAMPLE)

    shop.run(work)


def test_a_store_that_is_too_slow_is_asked_less_often(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 60.0
        began = shop.time.at
        while shop.time.at - began < 400:
            assert await shop.shown() == {"outlast_store_up": 0}
            shop.time.at += 5.0
        assert 8 <= shop.samples <= 10, "2 s in 40"

    shop.run(work)


def test_the_log_tells_of_an_outage_once(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "outlast.observe")

    async def work() -> None:
        for opening in (lost, lost, hangs, None, None, lost):
            shop.opening = opening
            shop.time.at += 60.0
            await shop.sampler.readings()

    shop.run(work)
    lines = [(each.levelname, each.getMessage()) for each in caplog.records]
    away = (
        "metrics of 'shop' are without the figures of the store, until it answers "
        "(StoreUnavailable: the server is down)"
    )
    assert lines == [
        ("WARNING", away),
        ("INFO", "metrics of 'shop' have the figures of the store again"),
        ("WARNING", away),
    ]


def test_an_app_that_is_not_known_yet_shows_nothing(shop: Shop) -> None:
    sampler = Sampler(hangs, lambda: None)  # type: ignore[arg-type]
    assert asyncio.run(sampler.readings()) == []
    assert asyncio.run(sampler.stats()) == {}


def test_a_scrape_whose_client_has_gone_holds_no_other_up(shop: Shop) -> None:
    async def work() -> None:
        shop.takes = 1.0
        gone = asyncio.create_task(shop.sampler.readings())
        await asyncio.sleep(0.5)
        waiting = asyncio.create_task(shop.depth())
        await asyncio.sleep(0)
        gone.cancel()
        await waiting
        shop.time.at += 1.0
        assert await shop.depth() == 1

    shop.run(work)


def test_a_sampler_serves_one_loop_after_another(shop: Shop) -> None:
    async def work() -> None:
        await asyncio.gather(shop.depth(), shop.depth())

    shop.run(work)
    shop.time.at += 1.0
    shop.time.run(work)
    assert shop.samples == 2


async def test_totals_are_asked_of_stores_that_keep_them() -> None:
    found = {("mail", "send", "dead"): 1}

    async def totals(queues: Sequence[str]) -> OutcomeTotals:
        return found if queues == ("mail",) else {}

    def keeping(keeps: bool) -> Store:
        part = SimpleNamespace(totals=totals)
        return cast("Store", SimpleNamespace(keeps_totals=lambda: keeps, totals=part if keeps else None))

    assert await stored_totals(keeping(True), ("mail",)) == found
    assert await stored_totals(keeping(False), ("mail",)) is None
