"""Follow-ups: durable in the step that settles the job, and once."""

from __future__ import annotations

import asyncio

import pytest

from outlast.core.settlement import ACCEPTED, Exists, Finish, Reschedule
from outlast.core.store.control import Cancel, Prune, Purge
from outlast.core.store.records import Query
from tests.support.jobs import LEASE, A, B, Desk, lost, raw


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
async def test_every_end_may_have_follow_ups(desk: Desk, state: str) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.finish("q.1", state=state, then=[desk.message("q.2"), desk.message("q.3")])  # type: ignore[arg-type]
    assert await desk.ids() == ["q.2", "q.3"]


async def test_follow_ups_in_other_queues(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.finish("q.1", then=[desk.message("r.1"), desk.message("s.1", delay=5)])
    assert await desk.ids("r", "s") == ["r.1"]
    assert await desk.state("s.1") == "scheduled"


async def test_a_retry_may_have_follow_ups(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 2, then=[desk.message("q.2")]))
    assert await desk.ids() == ["q.2"]


async def test_a_retry_of_a_job_that_is_to_be_cancelled_has_none(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.do(Cancel("q.1"))
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2, then=[desk.message("q.2")]))
    assert await desk.state("q.1") == "cancelled"
    assert await desk.state("q.2") == "unknown"


async def test_a_repeated_settlement_adds_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    for _ in range(2):
        assert await desk.finish("q.1", then=[desk.message("q.2")]) == []
    assert await desk.ids() == ["q.2"]
    assert (await desk.stats()).depth == 1


async def test_a_superseded_settlement_adds_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim(holder=A))[0].fence
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    assert await desk.settle(Finish(old, "succeeded", then=[desk.message("q.2")])) == lost([old])
    assert await desk.state("q.2") == "unknown"


async def test_a_known_id_is_not_added_again(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.finish("q.2")
    await desk.finish("q.1", then=[desk.message("q.2"), desk.message("q.3"), desk.message("q.3")])
    assert await desk.ids() == ["q.3"]
    assert await desk.state("q.2") == "succeeded"


async def test_follow_ups_of_many_settlements_come_in_their_order(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.settle(
        Finish(desk.fence("q.2"), "succeeded", then=[desk.message("q.a")]),
        Finish(desk.fence("q.1"), "succeeded", then=[desk.message("q.b")]),
    )
    assert await desk.ids() == ["q.a", "q.b"]


async def follow_up_of_a_held_key(desk: Desk, queue: str = "q") -> None:
    """Settle q.1 with the follow-up 2, whose unique key the job `held` of that queue holds."""
    await desk.publish("q.1")
    await desk.publish(f"{queue}.held", unique="k", delay=5)
    assert await desk.ids("q") == ["q.1"]
    await desk.finish("q.1", then=[desk.message(f"{queue}.2", unique="k"), desk.message(f"{queue}.3", delay=9)])


@pytest.mark.parametrize("queue", ["q", "r"])
async def test_a_follow_up_whose_key_is_held_leads_to_the_job_that_holds_it(desk: Desk, queue: str) -> None:
    await follow_up_of_a_held_key(desk, queue)
    record = await desk.record(f"{queue}.2")
    assert (record.id, record.state) == (f"{queue}.held", "scheduled")
    assert (await desk.stats(queue)).depth == 2
    assert await desk.publish(f"{queue}.2") == [Exists(f"{queue}.2", "id")]
    page = await desk.store.find(Query(queue=queue, states=("scheduled",)))
    assert {each.id for each in page.records} == {f"{queue}.held", f"{queue}.3"}
    desk.clock.advance(6)
    assert await desk.ids(queue) == [f"{queue}.held"]
    assert await desk.state(f"{queue}.2") == "running"
    await desk.finish(f"{queue}.held", result=raw("done"))
    (record,) = await desk.store.wait([f"{queue}.2"], 0)  # type: ignore[assignment]
    assert (record.id, record.state, record.result) == (f"{queue}.held", "succeeded", "done")


async def test_a_retry_whose_follow_up_finds_its_key_held(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.publish("q.held", unique="k", delay=5)
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2, then=[desk.message("q.2", unique="k")]))
    assert (await desk.record("q.2")).id == "q.held"


async def test_a_wait_for_a_follow_up_ends_with_the_job_that_it_leads_to(desk: Desk) -> None:
    await follow_up_of_a_held_key(desk)
    desk.clock.advance(6)
    await desk.claim()
    waiting = asyncio.create_task(desk.store.wait(["q.2"], 30))
    await asyncio.sleep(0)
    await desk.finish("q.held")
    (record,) = await waiting
    assert record is not None
    assert (record.id, record.state) == ("q.held", "succeeded")


async def test_the_id_of_such_a_follow_up_is_forgotten_like_others(desk: Desk) -> None:
    await desk.declare("q", id_memory=60, record_ttl=1000)
    await follow_up_of_a_held_key(desk)
    desk.clock.advance(59)
    await desk.do(Prune())
    assert (await desk.record("q.2")).id == "q.held"
    desk.clock.advance(2)
    await desk.do(Prune())
    assert await desk.state("q.2") == "unknown"
    assert await desk.publish("q.2") == [ACCEPTED]


async def test_a_follow_up_leads_nowhere_once_the_other_record_is_gone(desk: Desk) -> None:
    await follow_up_of_a_held_key(desk)
    await desk.do(Purge(id="q.held"))
    assert await desk.state("q.2") == "unknown"
    assert await desk.publish("q.2") == [Exists("q.2", "id")]


async def test_a_follow_up_with_a_known_id_is_the_job_of_that_id(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.publish("q.2", delay=5)
    await desk.claim()
    await desk.finish("q.1", then=[desk.message("q.2", unique="k")])
    assert (await desk.record("q.2")).state == "scheduled"
