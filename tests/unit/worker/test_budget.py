"""The budget: what each step of a run does to the slots, to what is claimed next, and to the job map."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, cast

import pytest

from outlast import Outlast
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Release
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.job_map import CLAIMED, ENDED, STARTED, SharedJobMap
from outlast.worker.run import Run


@pytest.fixture
def job_map() -> Iterator[SharedJobMap]:
    fd = SharedJobMap.create(4)
    found = SharedJobMap(fd, 4)
    yield found
    found.close()
    os.close(fd)


@pytest.fixture
def shop() -> Outlast:
    shop = Outlast("shop")

    @shop.job(queue="mail")
    async def send() -> None: ...

    @shop.job(queue="mixed")
    async def look() -> None: ...

    @shop.job(queue="mixed")
    def render() -> None: ...

    return shop


def run_of(shop: Outlast, budget: Budget) -> Run:
    sent = shop.composer.message(shop.registry.declarations["send"])
    return Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, budget.loop, cast(Any, None), 0.0)


def test_a_queue_gets_the_room_of_its_narrowest_way_to_run(shop: Outlast) -> None:
    budget = Budget(shop.composer, concurrency=10, threads=2, processes=1)
    assert budget.demand(["mail", "mixed", "other"]) == ({"mail": 10, "mixed": 2, "other": 10}, 10)


def test_a_run_is_counted_and_shown_from_its_claim_to_its_settlement(shop: Outlast, job_map: SharedJobMap) -> None:
    budget = Budget(shop.composer, concurrency=2, threads=2, processes=1, job_map=job_map)

    def states() -> list[int]:
        return [job.state for job in job_map.read()]

    run = run_of(shop, budget)
    budget.hold(run)
    budget.idle.clear()
    budget.wait(run)
    assert (budget.demand(["mail"]), states(), budget.settles_soon()) == (({"mail": 1}, 1), [CLAIMED], False)
    assert budget.take_slot(budget.loop)
    budget.begun(run)
    budget.loop.waiting.clear()
    assert (states(), budget.settles_soon()) == ([STARTED], False)
    budget.free_slot(run, 1.0)
    budget.end(run)
    assert (states(), budget.settles_soon(), budget.finished) == ([ENDED], True, 1)
    batch: list[EndedRun] = [(run, Release(run.delivery.fence))]
    budget.begin_settling(batch)
    assert budget.room.is_set()
    assert budget.demand(["mail"]) == ({"mail": 2}, 2)
    assert not budget.idle.is_set()
    budget.settled(batch)
    assert (states(), budget.demand(["mail"])) == ([], ({"mail": 2}, 2))
    assert budget.idle.is_set()


def test_no_group_has_a_slot_while_the_worker_is_full(shop: Outlast) -> None:
    budget = Budget(shop.composer, concurrency=1, threads=2, processes=1)
    assert budget.take_slot(budget.thread)
    assert not budget.take_slot(budget.loop)
    assert not budget.take_slot(budget.thread)


def test_the_worker_is_idle_only_when_its_last_run_is_settled(shop: Outlast) -> None:
    """A stop that drains waits for that."""
    budget = Budget(shop.composer, concurrency=2, threads=2, processes=1)
    runs = [run_of(shop, budget) for _ in range(2)]
    for run in runs:
        budget.hold(run)
    budget.idle.clear()
    for run, idle in zip(runs, (False, True), strict=True):
        batch: list[EndedRun] = [(run, Release(run.delivery.fence))]
        budget.begin_settling(batch)
        budget.settled(batch)
        assert budget.idle.is_set() == idle
