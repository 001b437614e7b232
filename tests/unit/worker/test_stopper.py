"""What the stopper and the finisher do with jobs that wait too long, have ended already or are superseded."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import pytest
from msgspec import structs

from outlast import Outlast
from outlast.core.decide import Aborted
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Release, Settlement
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.finisher import RunFinisher
from outlast.worker.run import Run
from outlast.worker.stopper import PATIENCE, RunStopper


class Scene:
    """A stopper with its budget, and what it has settled."""

    def __init__(self) -> None:
        self.shop = Outlast("shop")

        @self.shop.job
        async def send() -> None: ...

        self.clock = FakeClock()
        self.budget = Budget(self.shop.composer, concurrency=3, threads=2, processes=1)
        self.settled: list[tuple[Run, Settlement]] = []
        self.reported: list[Run] = []
        self.finisher = RunFinisher(
            self.budget, cast(Any, self), lambda run, settlement: self.settled.append((run, settlement)), Random(1)
        )
        self.stopper = RunStopper(self.budget, self.finisher, cast(Any, None), self.clock)

    def superseded(self, run: Run) -> None:
        """Report a run that was superseded."""
        self.reported.append(run)

    def held(self) -> Run:
        """Return a run of a claimed job."""
        sent = self.shop.composer.message(self.shop.registry.declarations["send"])
        delivery = Delivery(sent, Fence(sent.id, sent.queue, 1))
        run = Run(delivery, None, self.budget.loop, cast(Any, self), self.clock.monotonic())
        self.budget.hold(run)
        return run


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_job_that_waited_too_long_for_a_slot_is_offered_again_later(scene: Scene) -> None:
    run = scene.held()
    scene.budget.wait(run)
    scene.clock.advance(PATIENCE)
    scene.stopper.tick(scene.clock.monotonic())
    assert scene.settled == []
    scene.clock.advance(0.5)
    scene.stopper.tick(scene.clock.monotonic())
    at = scene.clock.time() + PATIENCE
    assert scene.settled == [(run, Release(run.delivery.fence, at=at, why="no slot came free in time"))]


def test_an_abort_leaves_a_run_alone_that_has_ended_without_a_slot(scene: Scene) -> None:
    """As one of an unknown kind, or one that came too late: only its settlement is outstanding."""
    run = scene.held()
    scene.finisher.close(run, Release(run.delivery.fence))
    scene.stopper.abort()
    assert not scene.stopper.abandon()
    assert scene.settled == [(run, Release(run.delivery.fence))]
    assert run.stop is None


def test_a_superseded_run_is_not_settled(scene: Scene) -> None:
    """Its job runs elsewhere, or has ended there."""
    run = scene.held()
    run.stop = "superseded"
    scene.finisher.end(run, Aborted("the worker stopped", begun=True))
    assert (scene.settled, scene.reported) == ([], [run])
    assert (run.ended, list(scene.budget.runs), scene.budget.idle.is_set()) == (True, [], True)
    assert (scene.budget.settling, scene.budget.loop.held, scene.budget.loop.settling) == (0, 0, 0)


def test_the_waiting_jobs_of_one_queue_go_back_and_others_stay(scene: Scene) -> None:
    waiting = [scene.held() for _ in range(3)]
    for run in waiting:
        scene.budget.wait(run)
    began = scene.held()
    other = waiting[1]
    other.delivery = structs.replace(other.delivery, message=structs.replace(other.message, queue="others"))
    scene.stopper.release_of("default", "waits for payments")
    assert scene.settled == [
        (run, Release(run.delivery.fence, why="waits for payments")) for run in (waiting[0], waiting[2])
    ]
    assert list(scene.budget.loop.waiting) == [other]
    assert not began.ended
