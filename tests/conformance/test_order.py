"""Order: who is given out first."""

from __future__ import annotations

import pytest

from outlast.core.settlement import Release, Reschedule
from outlast.core.unique import Unique
from tests.support.jobs import LEASE, A, B, Desk


async def test_first_accepted_first_given(desk: Desk) -> None:
    await desk.publish("q.b", "q.a", "q.c")
    assert await desk.ids() == ["q.b", "q.a", "q.c"]


async def test_a_batch_keeps_its_order_where_a_unique_key_has_lapsed(desk: Desk) -> None:
    await desk.publish("q.old", unique=Unique("k", seconds=5))
    desk.clock.advance(6)
    batch = [desk.message("q.1"), desk.message("q.2", unique="k"), desk.message("q.3")]
    await desk.store.publish(batch)
    assert await desk.ids() == ["q.old", "q.1", "q.2", "q.3"]


async def test_the_batch_comes_in_the_order_it_was_picked(desk: Desk) -> None:
    await desk.publish("q.low", priority="low")
    await desk.publish("q.normal")
    await desk.publish("q.high", priority="high")
    assert await desk.ids() == ["q.high", "q.normal", "q.low"]


async def test_earlier_due_goes_first_whatever_came_in_first(desk: Desk) -> None:
    await desk.publish("q.5", delay=5)
    await desk.publish("q.1", delay=1)
    await desk.publish("q.3", delay=3)
    desk.clock.advance(10)
    assert await desk.ids() == ["q.1", "q.3", "q.5"]


async def test_a_priority_is_a_head_start_and_the_rest_ages(desk: Desk) -> None:
    await desk.publish("q.old")
    desk.clock.advance(59)
    await desk.publish("q.high", priority="high")
    desk.clock.advance(2)
    await desk.publish("q.too-late", priority="high")
    assert await desk.ids() == ["q.high", "q.old", "q.too-late"]


async def test_a_high_job_that_is_not_due_waits(desk: Desk) -> None:
    await desk.publish("q.high", delay=30, priority="high")
    await desk.publish("q.normal")
    assert await desk.ids() == ["q.normal"]


@pytest.mark.needs("turns")
async def test_queues_take_turns(desk: Desk) -> None:
    await desk.publish("a.1", "a.2", "a.3", "b.1", "c.1", "c.2")
    assert await desk.ids("a", "b", "c") == ["a.1", "b.1", "c.1", "a.2", "c.2", "a.3"]


@pytest.mark.needs("turns")
async def test_the_turn_goes_on_behind_the_queue_served_last(desk: Desk) -> None:
    await desk.publish("a.1", "a.2", "b.1", "b.2", "c.1", "c.2")
    given = [await desk.ids("a", "b", "c", limit=1) for _ in range(6)]
    assert given == [["a.1"], ["b.1"], ["c.1"], ["a.2"], ["b.2"], ["c.2"]]


@pytest.mark.needs("turns")
async def test_the_turn_skips_queues_that_are_not_asked_for(desk: Desk) -> None:
    await desk.publish("a.1", "b.1", "c.1", "a.2", "c.2")
    assert await desk.ids("a", "c", limit=1) == ["a.1"]
    assert await desk.ids("a", "c", limit=1) == ["c.1"]
    assert await desk.ids("a", "b", "c", limit=2) == ["a.2", "b.1"]


async def test_a_lapsed_job_keeps_its_place(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    assert await desk.ids(limit=1, holder=A) == ["q.1"]
    desk.clock.advance(LEASE + 1)
    assert await desk.ids(holder=B) == ["q.1", "q.2"]


async def test_a_job_given_back_keeps_its_place(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(limit=1)
    desk.clock.advance(1)
    await desk.publish("q.2")
    await desk.settle(Release(desk.fence("q.1")))
    assert await desk.ids() == ["q.1", "q.2"]


async def test_a_retry_moves_to_the_time_it_is_due(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 2))
    desk.clock.advance(1)
    await desk.publish("q.2")
    desk.clock.advance(9)
    await desk.publish("q.3")
    assert await desk.ids() == ["q.2", "q.1", "q.3"]


async def test_a_retry_keeps_its_head_start(desk: Desk) -> None:
    await desk.publish("q.1", priority="high")
    await desk.claim()
    await desk.publish("q.2")
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 30, 2))
    desk.clock.advance(30)
    assert await desk.ids() == ["q.1", "q.2"]
