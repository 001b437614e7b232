"""Since when a claim should have come back, as a worker tells it: all that the claimer may wait for is no fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, cast

import pytest

from outlast import Outlast
from outlast.core.message import Delivery, Fence, Holder
from outlast.testing.clock import FakeClock
from outlast.worker.budget import Budget
from outlast.worker.claim_signs import ClaimSigns
from outlast.worker.claimer import Claimer
from outlast.worker.job_map import SharedJobMap
from outlast.worker.pulse import Pulse
from outlast.worker.run import Run

QUEUES = ("mail", "pdf")


class Link:
    """A link whose store answers, until `away` is set."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.away = False


class Gates:
    """Guards that hold some queues."""

    active = True

    def __init__(self, *shut: str) -> None:
        self.shut = shut

    def bound(self, demand: dict[str, int]) -> dict[str, int]:
        return {queue: 0 if queue in self.shut else wanted for queue, wanted in demand.items()}

    def holds(self, queue: str) -> bool:
        return queue in self.shut


class Scene:
    """A worker of two queues with two slots, whose claimer makes no claim by itself."""

    def __init__(self, job_map: SharedJobMap) -> None:
        self.shop = Outlast("shop")
        for queue in QUEUES:
            self.shop.job(kind=queue, queue=queue)(works)
        self.job_map = job_map
        self.link = Link()
        self.budget = Budget(self.shop.composer, concurrency=2, threads=1, processes=1)
        link: Any = self.link
        self.claimer = Claimer(link, self.budget, lambda found: None, queues=QUEUES, holder=Holder("h"), lease=30.0)
        self.gates: Any = None
        self.pulse = self.made()

    def made(self) -> Pulse:
        link: Any = self.link
        return Pulse(self.job_map, self.claimer, link, budget=self.budget, gates=self.gates, queues=QUEUES)

    def beats(self, number: int = 1) -> ClaimSigns:
        """Beat each second; return what is told after the last one."""
        for _ in range(number):
            self.link.clock.advance(1)
            self.pulse.beat()
        return self.job_map.claims

    def due(self, signs: ClaimSigns) -> float:
        """Return the seconds for which a claim is due."""
        return self.link.clock.monotonic() - signs.due_since if signs.due_since else 0.0

    def hold(self) -> Run:
        sent = self.shop.composer.message(self.shop.registry.declarations["mail"])
        run = Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, self.budget.loop, cast(Any, None), 0.0)
        self.budget.hold(run)
        return run


async def works() -> None: ...


@pytest.fixture
def scene() -> Iterator[Scene]:
    fd = SharedJobMap.create(4)
    job_map = SharedJobMap(fd, 4)
    yield Scene(job_map)
    job_map.close()
    os.close(fd)


def test_a_claimer_that_makes_no_claim_is_seen_by_the_time(scene: Scene) -> None:
    scene.beats()
    signs = scene.beats(61)
    assert (scene.due(signs), signs.asked, signs.away) == (61.0, (0, 1), False)


def test_a_claim_that_came_back_begins_the_time_again(scene: Scene) -> None:
    scene.beats(50)
    scene.claimer.attended = scene.link.clock.monotonic()
    assert scene.due(scene.beats(3)) == 3.0


def test_no_claim_is_due_while_there_is_no_room_and_the_time_begins_with_the_room(scene: Scene) -> None:
    runs = [scene.hold(), scene.hold()]
    signs = scene.beats(600)
    assert (signs.due_since, signs.asked) == (0.0, ())
    batch: Any = [(run, None) for run in runs]
    scene.budget.begin_settling(batch)
    scene.budget.settled(batch)
    assert scene.due(scene.beats(1)) == 1.0


def test_no_claim_is_due_of_what_a_guard_holds(scene: Scene) -> None:
    scene.gates = Gates("mail")
    scene.pulse = scene.made()
    signs = scene.beats(100)
    assert (signs.asked, signs.shut) == ((1,), (0,))
    scene.gates.shut = QUEUES
    signs = scene.beats(600)
    assert (signs.due_since, signs.asked, signs.shut) == (0.0, (), (0, 1))
    scene.gates.shut = ()
    assert scene.due(scene.beats(1)) == 1.0


def test_no_claim_is_due_while_the_store_fails(scene: Scene) -> None:
    scene.link.away = True
    signs = scene.beats(600)
    assert (signs.due_since, signs.away) == (0.0, True)
    scene.link.away = False
    assert scene.due(scene.beats(1)) == 1.0


def test_no_claim_is_due_after_a_time_in_which_the_event_loop_was_blocked(scene: Scene) -> None:
    """As by a job that uses the CPU: the claimer could not run either."""
    scene.beats(3)
    scene.link.clock.advance(120)
    scene.pulse.beat()
    assert scene.due(scene.job_map.claims) == 0.0
    assert scene.due(scene.beats(2)) == 2.0


def test_no_claim_is_due_while_a_run_keeps_an_unknown_grant_from_being_given_back(scene: Scene) -> None:
    run = scene.hold()
    scene.claimer._unknown_since = scene.link.clock.monotonic()
    assert scene.beats(600).due_since == 0.0
    batch: Any = [(run, None)]
    scene.budget.begin_settling(batch)
    scene.budget.settled(batch)
    assert scene.due(scene.beats(1)) == 1.0


async def test_no_claim_is_due_when_claiming_has_ended(scene: Scene) -> None:
    scene.claimer._ended = True
    assert scene.beats(600).due_since == 0.0


def test_a_worker_without_a_supervisor_tells_nothing(scene: Scene) -> None:
    link: Any = scene.link
    Pulse(None, scene.claimer, link, budget=scene.budget, gates=None, queues=QUEUES).beat()
