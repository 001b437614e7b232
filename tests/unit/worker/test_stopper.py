"""What the stopper and the finisher do with jobs that wait too long, have ended already or are superseded."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import structs

from outlast import Outlast
from outlast.core.decide import Aborted
from outlast.core.message import Delivery, Fence
from outlast.core.settlement import Lost, Release, Settlement
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.carrier import Carrier
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
            self.budget,
            cast(Any, self),
            lambda run, settlement: self.settled.append((run, settlement)),
            Random(1),
            Carrier(self.shop.composer.claims, self.budget, self.clock, Random(1)),
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


def in_thread(scene: Scene) -> Run:
    """Return a run whose function runs in a thread."""
    run = scene.held()
    run.group, run.began = scene.budget.thread, True
    scene.budget.loop.held -= 1
    scene.budget.thread.held += 1
    assert scene.budget.take_slot(scene.budget.thread)
    run.plan = cast(Any, SimpleNamespace(timeout=1.0, declaration=scene.shop.registry.declarations["send"]))
    return run


def test_a_thread_past_its_timeout_is_settled_at_the_first_look_and_keeps_its_slot(scene: Scene) -> None:
    run = in_thread(scene)
    run.deadline = scene.clock.monotonic() + 1
    scene.clock.advance(1)
    scene.stopper.tick(scene.clock.monotonic())
    assert [each for each, _ in scene.settled] == [run]
    assert (run.stop, scene.budget.thread.taken, scene.budget.thread.stuck) == ("timeout", 1, 1)


def test_a_superseded_thread_is_dropped_at_once_and_keeps_its_slot(scene: Scene) -> None:
    run = in_thread(scene)
    scene.stopper.lost([Lost(run.delivery.fence, "superseded")])
    assert (scene.settled, scene.reported, list(scene.budget.runs)) == ([], [run], [])
    assert (scene.budget.thread.taken, scene.budget.thread.stuck) == (1, 1)


def test_a_cancelled_thread_is_settled_when_it_returns(scene: Scene) -> None:
    """Its function may look at `ctx.cancelled` and end in its own way."""
    run = in_thread(scene)
    scene.stopper.lost([Lost(run.delivery.fence, "cancelled")])
    assert (run.stop, run.cancelled, run.ended, scene.settled) == ("cancelled", True, False, [])
    assert (scene.budget.thread.taken, scene.budget.thread.stuck) == (1, 0)


def test_an_abort_lets_go_of_a_thread_without_settling_it(scene: Scene) -> None:
    """Settled, the job would run elsewhere beside the thread."""
    run = in_thread(scene)
    scene.stopper.abort()
    assert (run.stop, run.ended, scene.settled) == ("aborted", True, [])
    assert (scene.budget.detached, list(scene.budget.runs)) == ([run.delivery.fence], [])
    assert (scene.budget.idle.is_set(), scene.budget.thread.stuck) == (True, 1)


async def test_no_deadline_is_checked_after_the_close(scene: Scene) -> None:
    """A run that would be stopped then has no settler any more."""
    scene.stopper.close()
    scene.stopper.watch()
    timer = scene.stopper._timer
    assert timer is not None
    scene.stopper.close()
    assert timer.cancelled()


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
