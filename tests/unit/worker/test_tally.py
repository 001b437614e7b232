"""Runs are counted when the store has their end, by queue, kind and outcome; each series is there from the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from msgspec import Raw, structs

from outlast import Outlast, Settings
from outlast.core.message import Delivery, Failure, Fence
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from outlast.meters import meters
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.metrics import JOB_WAIT, OUTCOMES, edges_to
from outlast.worker.run import Run
from outlast.worker.tally import RunTally, outcome_of

FENCE = Fence("mail.1", "mail", 1)
FAILED = Failure(1, 0.0, "ValueError", "no")


class Scene:
    """An app of its own name, so that no other test counts in its series."""

    def __init__(self, name: str) -> None:
        self.shop = shop = Outlast(name, settings=Settings(url="memory:"))
        shop.queue("mail", objective=3)
        shop.queue("rest")

        @shop.job(queue="mail", timeout=45, version=2, upgrades={1: dict})
        async def send() -> None: ...

        @shop.job(queue="mail", timeout=7)
        async def look() -> None: ...

        @shop.job(queue="rest", timeout=None)
        async def clean() -> None: ...

        self.clock = FakeClock()
        self.plans: dict[str, object] = {}
        self.budget = Budget(shop.composer, concurrency=9, threads=2, processes=1)
        self.tally = RunTally(shop.registry, self.clock, ["mail"])

    def run(
        self,
        kind: str,
        *,
        queue: str = "mail",
        waited: float = 0.0,
        took: float = 0.0,
        token: int = 1,
        ended: bool = True,
    ) -> Run:
        sent = self.shop.composer.message(self.shop.registry.declarations[kind.partition("@")[0]])
        sent = structs.replace(sent, kind=kind, queue=queue, run_at=self.clock.time() - took - waited, args=Raw(b"{ }"))
        host: Any = None
        plan: Any = self.plans.setdefault(kind, object())
        run = Run(Delivery(sent, Fence(sent.id, queue, token)), plan, self.budget.loop, host, 0.0)
        run.begun, run.started = True, self.clock.monotonic() - took
        if ended:
            run.measured(self.clock.monotonic())
        return run

    def values(self, name: str, *labels: str) -> tuple[float, ...]:
        whole = (self.shop.name, *labels)
        return next(each.values for each in meters.read() if (each.metric.name, each.labels) == (name, whole))

    def counted(self, name: str) -> dict[tuple[str, ...], tuple[float, ...]]:
        return {
            each.labels[1:]: each.values
            for each in meters.read()
            if each.metric.name == name and each.labels[0] == self.shop.name and any(each.values)
        }


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(cast(Callable[[], str], request.function).__name__)


def test_every_series_of_a_consumed_queue_is_there_at_0(scene: Scene) -> None:
    own = {(each.metric.name, each.labels[1:]): each.values for each in meters.read() if scene.shop.name in each.labels}
    expected: set[tuple[str, tuple[str, ...]]] = {
        ("outlast_kind_runs_total", (kind, outcome)) for kind in ("send", "look") for outcome in OUTCOMES
    }
    for kind in ("send", "look"):
        expected |= {(f"outlast_kind_{each}", (kind,)) for each in ("run_seconds", "cpu_seconds_total", "bytes_total")}
    for name in ("job_wait_seconds", "job_run_seconds", "retries_total", "stale_settlements_total"):
        expected.add((f"outlast_{name}", ("mail",)))
    expected.add(("outlast_lapsed_leases_total", ()))
    assert set(own) == expected
    assert not any(map(any, own.values()))


def test_runs_are_counted_by_outcome_with_what_they_used(scene: Scene) -> None:
    done = scene.run("send@2", waited=2.9, took=0.2)
    measured = scene.run("send@2", took=3)
    measured.cpu = 1.5
    failed = scene.run("look", waited=40, took=8)
    unbegun = scene.run("look")
    unbegun.begun = False
    older = scene.run("send", took=0.2)
    batch: list[tuple[Run, Settlement]] = [
        (done, Finish(FENCE, "succeeded", result=Raw(b"12345"))),
        (measured, Finish(FENCE, "dead")),
        (failed, Reschedule(FENCE, 0.0, 2, FAILED)),
        (unbegun, Release(FENCE)),
        (older, Finish(FENCE, "succeeded")),
    ]
    scene.tally.settled(batch)
    assert scene.counted("outlast_kind_runs_total") == {
        ("send", "succeeded"): (2,),
        ("send", "dead"): (1,),
        ("look", "retried"): (1,),
    }
    assert scene.counted("outlast_kind_run_seconds") == {("send",): (3, pytest.approx(3.4)), ("look",): (1, 8)}
    assert scene.counted("outlast_kind_cpu_seconds_total") == {("send",): (1.5,)}
    assert scene.counted("outlast_kind_bytes_total") == {("send",): (3 * 3 + 5,), ("look",): (3,)}
    assert scene.counted("outlast_retries_total") == {("mail",): (1,)}
    assert sum(scene.values("outlast_job_run_seconds", "mail")) == pytest.approx(4 + 11.4)
    waits = dict(zip((*edges_to(30, 3), "more"), scene.values("outlast_job_wait_seconds", "mail"), strict=False))
    assert {edge: count for edge, count in waits.items() if count} == {0.005: 2, 3: 1, "more": 1}
    scene.tally.settled(batch[:1])
    assert scene.values("outlast_kind_runs_total", "send", "succeeded") == (3,)


def test_superseded_runs_are_no_successes(scene: Scene) -> None:
    lost = scene.run("look", token=4)
    fence = lost.delivery.fence
    batch: list[tuple[Run, Settlement]] = [
        (lost, Finish(fence, "succeeded")),
        (scene.run("look"), Finish(FENCE, "succeeded")),
    ]
    scene.tally.settled(batch, frozenset([(fence.id, 4)]))
    scene.tally.superseded("mail")
    scene.tally.lapsed()
    assert scene.counted("outlast_kind_runs_total") == {("look", "succeeded"): (1,), ("look", "superseded"): (1,)}
    assert scene.counted("outlast_stale_settlements_total") == {("mail",): (1,)}
    assert scene.counted("outlast_lapsed_leases_total") == {(): (1,)}


def test_a_run_that_has_no_end_of_its_own_is_counted_with_its_time_so_far(scene: Scene) -> None:
    """As one in a thread that runs on after its timeout."""
    run = scene.run("look", took=2.0, ended=False)
    scene.tally.settled([(run, Finish(FENCE, "dead", "timeout"))])
    assert scene.values("outlast_kind_run_seconds", "look") == pytest.approx((1, 2.0))


def test_no_wait_is_negative_though_another_clock_is_ahead(scene: Scene) -> None:
    early = scene.run("look", waited=-5.0)
    scene.tally.settled(
        [(early, Finish(FENCE, "succeeded")), (scene.run("look", waited=1), Finish(FENCE, "succeeded"))]
    )
    waits = scene.values("outlast_job_wait_seconds", "mail")
    assert waits[0] == 1
    assert waits[-1] == pytest.approx(1.0)


def test_a_job_that_is_in_another_queue_than_its_kind_is_declared_for_is_counted_there(scene: Scene) -> None:
    scene.tally.settled([(scene.run("clean", took=1), Finish(FENCE, "succeeded"))])
    assert scene.counted("outlast_kind_run_seconds") == {("clean",): (1, 1)}
    assert sum(scene.values("outlast_job_run_seconds", "mail")[:-1]) == 1


def test_edges_reach_the_largest_timeout_and_ten_times_the_objective(scene: Scene) -> None:
    series = {each.metric.name: each.edges for each in meters.read() if each.labels == (scene.shop.name, "mail")}
    assert series["outlast_job_run_seconds"][-2:] == (30, 45)
    assert series["outlast_job_wait_seconds"][-4:] == (3, 5, 10, 30)
    RunTally(scene.shop.registry, scene.clock, ["rest"])
    series = {each.metric.name: each.edges for each in meters.read() if each.labels == (scene.shop.name, "rest")}
    assert series["outlast_job_run_seconds"][-1] == 3600
    assert series["outlast_job_wait_seconds"][-1] == JOB_WAIT.metric.edges[-1] == 600
    assert 60 in series["outlast_job_wait_seconds"]


def test_edges_are_few_and_ascending() -> None:
    assert edges_to(300) == (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
    assert edges_to(0.001) == (0.001,)
    assert edges_to(20, 2, 77) == (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 10, 20)


@pytest.mark.parametrize(
    ("settlement", "outcome"),
    [
        (Finish(FENCE, "dead"), "dead"),
        (Finish(FENCE, "cancelled"), "cancelled"),
        (Finish(FENCE, "expired"), "released"),
        (Reschedule(FENCE, 0.0, 1), "snoozed"),
        (Reschedule(FENCE, 0.0, 1, FAILED), "retried"),
        (Release(FENCE), "released"),
        (Park(FENCE, 0.0), "released"),
    ],
)
def test_each_settlement_has_an_outcome(settlement: Settlement, outcome: str) -> None:
    assert outcome_of(settlement) == outcome
