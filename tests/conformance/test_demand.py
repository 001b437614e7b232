"""A claim that asks a queue for 0 jobs: the queue counts as consumed, and has no other effect on the claim."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from outlast.aio.notifier import Notifier
from outlast.core.limits import Limit, Rate
from outlast.core.settlement import Park
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from tests.support.jobs import A, B, Desk
from tests.support.polling import until

LONG = 3600.0
"""Seconds that no test lasts."""
SOON = 0.01
POLL = 1.0
"""Seconds between two looks of a claim that knows of no change."""
Step = Callable[[Desk], Awaitable[object]]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which each waiting call paused before it looked again."""
    found: list[float] = []
    wait = Notifier.wait

    async def recorded(notifier: Notifier, seen: int, timeout: float) -> None:
        found.append(timeout)
        await wait(notifier, seen, timeout)

    monkeypatch.setattr(Notifier, "wait", recorded)
    return found


async def ready(desk: Desk) -> None:
    await desk.publish("q.1")


async def due(desk: Desk) -> None:
    await desk.publish("q.1", delay=5)
    desk.clock.advance(5)


async def due_soon(desk: Desk) -> None:
    await desk.publish("q.1", delay=SOON)


async def held_by_rate(desk: Desk) -> None:
    await desk.store.declare(Topology((Queue(name="q", rate=Rate(100), burst=1),)))
    await desk.publish("q.1", "q.2")
    assert await desk.ids(holder=A, lease=LONG) == ["q.1"]


async def key_held_by_rate(desk: Desk) -> None:
    await desk.store.declare(Topology((Queue(name="q", per_key=Limit(rate=Rate(100), burst=1)),)))
    await desk.publish("q.1", "q.2", key="ann")
    assert await desk.ids(holder=A, lease=LONG) == ["q.1"]


async def parked(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A, lease=LONG)
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time()))
    await desk.store.declare(Topology((), kinds=("send",)))


async def successor(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=5))
    await desk.claim(holder=A, lease=LONG)
    await desk.publish("q.2", unique=Unique("k", replace=True))
    desk.clock.advance(5)


async def successor_soon(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=SOON))
    await desk.claim(holder=A, lease=LONG)
    await desk.publish("q.2", unique=Unique("k", replace=True))


CAUSES: list[Step] = [
    ready, due, due_soon, held_by_rate, key_held_by_rate, parked, successor, successor_soon,
]  # fmt: skip
"""What makes a queue hand out a job, now or soon."""


@pytest.mark.parametrize("cause", CAUSES)
async def test_it_wakes_no_claim(desk: Desk, pauses: list[float], cause: Step) -> None:
    await cause(desk)
    states = [await desk.state(id) for id in ("q.1", "q.2")]
    waiting = asyncio.create_task(desk.claim(demand={"q": 0, "other": 1}, holder=B, lease=LONG, wait=LONG))
    await until(lambda: pauses, "the claim has looked once")
    assert not waiting.done()
    assert min(pauses) >= POLL
    assert [await desk.state(id) for id in ("q.1", "q.2")] == states
    await desk.publish("other.1")
    assert [each.message.id for each in await waiting] == ["other.1"]


@pytest.mark.parametrize("cause", CAUSES)
async def test_it_has_a_consumer_and_gives_nothing(desk: Desk, cause: Step) -> None:
    await cause(desk)
    before = await desk.stats()
    assert await desk.claim(demand={"q": 0}, holder=B) == []
    after = await desk.stats()
    assert (after.consumers, after.running, after.depth) == (before.consumers + 1, before.running, before.depth)


async def test_the_first_claim_that_wants_a_job_gets_what_was_passed_over(desk: Desk) -> None:
    await due(desk)
    await desk.publish("other.1")
    assert await desk.ids(demand={"q": 0, "other": 2}) == ["other.1"]
    assert await desk.ids(demand={"q": 2, "other": 0}) == ["q.1"]


async def test_the_consumer_stays_when_the_demand_changes_and_goes_with_the_holder(desk: Desk) -> None:
    await desk.publish("q.1")
    for most in (0, 1, 0):
        await desk.claim(demand={"q": most, "other": 1})
        assert (await desk.stats()).consumers == 1
    assert await desk.claim(demand={"other": 1}) == []
    await desk.store.forfeit(A, crashed=False)
    assert (await desk.stats()).consumers == 0


async def test_it_may_be_a_queue_that_nothing_has_made(desk: Desk) -> None:
    assert await desk.claim(demand={"nowhere": 0}) == []
    assert await desk.store.stats(()) == {}


async def test_jobs_of_a_lapsed_lease_are_ready_again_in_it(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.ids(holder=A) == ["q.1"]
    desk.clock.advance(60)
    assert await desk.claim(demand={"q": 0}, holder=B) == []
    assert await desk.state("q.1") == "ready"
