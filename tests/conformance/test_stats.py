"""stats: what a queue counts of itself."""

from __future__ import annotations

import math

import pytest

from outlast.core.forecast import Forecast
from outlast.core.limits import Limit
from outlast.core.settlement import Park
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Adjust, Cancel, Edit, Pause, Purge, RunNow
from tests.support.jobs import LEASE, A, B, Desk


async def test_a_job_is_counted_where_it_is(desk: Desk) -> None:
    await desk.publish("q.run", "q.park", "q.dead", "q.done")
    await desk.claim(limit=10)
    await desk.settle(Park(desk.fence("q.park"), desk.clock.time() + 100))
    await desk.finish("q.dead", state="dead")
    await desk.finish("q.done")
    await desk.publish("q.ready1", "q.ready2")
    await desk.publish("q.later", delay=100)
    stats = await desk.stats()
    assert (stats.depth, stats.ready, stats.scheduled, stats.running, stats.parked, stats.dead) == (5, 2, 1, 1, 1, 1)


async def test_all_known_queues_when_none_is_named(desk: Desk) -> None:
    await desk.declare("declared")
    await desk.publish("used.1")
    assert set(await desk.store.stats([])) == {"declared", "used"}


async def test_a_queue_that_is_not_known_is_left_out(desk: Desk) -> None:
    await desk.publish("q.1")
    assert set(await desk.store.stats(["q", "nowhere"])) == {"q"}


async def test_an_empty_queue(desk: Desk) -> None:
    await desk.declare("q", max_depth=7)
    assert await desk.stats() == QueueStats(
        max_depth=7, limits={"max_depth": 7}, forecast=Forecast(empty_in=0.0, why="no worker")
    )


async def test_what_is_due_counts_as_ready(desk: Desk) -> None:
    await desk.publish("q.1", delay=5)
    desk.clock.advance(5)
    stats = await desk.stats()
    assert (stats.ready, stats.scheduled) == (1, 0)


async def test_oldest_is_how_long_the_first_ready_job_has_waited(desk: Desk) -> None:
    await desk.publish("q.1", delay=5)
    desk.clock.advance(12)
    await desk.publish("q.2")
    assert (await desk.stats()).oldest == pytest.approx(7)
    await desk.claim(limit=1)
    assert (await desk.stats()).oldest == 0


async def test_oldest_is_of_all_keys_and_of_the_jobs_without_one(desk: Desk) -> None:
    for key in ("ann", None, "bob"):
        await desk.publish(f"q.{key}", key=key)
        desk.clock.advance(1)
    assert (await desk.stats()).oldest == pytest.approx(3)
    assert await desk.ids(limit=1) == ["q.None"]
    await desk.do(Cancel("q.ann"))
    assert (await desk.stats()).oldest == pytest.approx(1)


async def test_oldest_is_of_the_keys_of_the_queue_those_that_wait_for_a_slot_too(desk: Desk) -> None:
    for queue in ("p", "q", "r"):
        await desk.declare(queue, per_key=Limit(concurrency=1))
        await desk.publish(f"{queue}.1", f"{queue}.2", key="ann")
        assert await desk.ids(queue) == [f"{queue}.1"]
        desk.clock.advance(1)
    assert [(await desk.stats(queue)).oldest for queue in ("p", "q", "r")] == pytest.approx([3, 2, 1])
    desk.clock.advance(1)
    await desk.publish("q.3", key="bob")
    assert (await desk.stats()).oldest == pytest.approx(3)
    await desk.finish("q.1")
    assert await desk.ids() == ["q.3", "q.2"]
    assert (await desk.stats()).oldest == 0


async def test_the_drain_rate_counts_what_ended_and_forgets(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim()
    await desk.finish("q.1")
    await desk.finish("q.2", state="dead")
    await desk.finish("q.3", state="cancelled")
    assert (await desk.stats()).drain_rate == pytest.approx(3 / 30)
    desk.clock.advance(30)
    assert (await desk.stats()).drain_rate == pytest.approx(3 / 30 / math.e)
    await desk.run("q.4")
    assert (await desk.stats()).drain_rate == pytest.approx((3 / math.e + 1) / 30)


async def test_a_settlement_repeated_does_not_drain_twice(desk: Desk) -> None:
    await desk.run("q.1")
    await desk.finish("q.1")
    assert (await desk.stats()).drain_rate == pytest.approx(1 / 30)


async def test_consumers_are_the_live_holders_that_asked(desk: Desk) -> None:
    await desk.declare("q")
    await desk.claim("q", "r", holder=A)
    await desk.claim("r", holder=B)
    assert (await desk.stats("q")).consumers == 1
    await desk.publish("r.1")
    assert (await desk.stats("r")).consumers == 2
    desk.clock.advance(LEASE - 1)
    await desk.extend(B)
    desk.clock.advance(2)
    assert (await desk.stats("q")).consumers == 0
    assert (await desk.stats("r")).consumers == 1


async def test_paused_shows(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.do(Pause("q"))
    stats = await desk.stats()
    assert (stats.paused, stats.ready, stats.depth) == (True, 1, 1)


async def test_a_job_to_be_cancelled_runs_until_its_holder_says_otherwise(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.do(Cancel("q.1"))
    stats = await desk.stats()
    assert (stats.running, stats.depth) == (1, 1)


async def test_parked_jobs_are_counted_until_they_are_parked_no_more(desk: Desk) -> None:
    ids = [f"q.{number}" for number in range(5)]
    await desk.publish(*ids)
    await desk.claim()
    await desk.settle(*(Park(desk.fence(id), desk.clock.time() + 60) for id in ids))
    counts = [await desk.stats()]
    for command in (RunNow("q.0"), Cancel("q.1"), Purge(id="q.2"), Edit("q.3", run_at=desk.clock.time())):
        await desk.do(command)
        counts.append(await desk.stats())
    assert [(each.parked, each.ready, each.scheduled, each.depth) for each in counts] == [
        (5, 0, 0, 5),
        (4, 1, 0, 5),
        (3, 1, 0, 4),
        (2, 1, 0, 3),
        (1, 2, 0, 3),
    ]
    desk.clock.advance(61)
    assert await desk.ids() == ["q.0", "q.3", "q.4"]
    assert (await desk.stats()).parked == 0


async def test_the_guards_that_a_queue_needs_are_those_that_its_last_declaration_names(desk: Desk) -> None:
    await desk.declare("q", needs=["payments", "mail"])
    assert (await desk.stats()).needs == ("payments", "mail")
    await desk.store.apply([Adjust("q", {"max_depth": 7})])
    stats = await desk.stats()
    assert (stats.needs, stats.limits, stats.changed) == (("payments", "mail"), {"max_depth": 7}, ("max_depth",))
    await desk.declare("q")
    assert (await desk.stats()).needs == ()
