"""Control: setting a job aside, taking it to another store, ending it where it was, any number of times."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.core.message import Holder
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.settlement import ACCEPTED, Exists, Finish, Note, Park, Reschedule
from outlast.core.store.control import Answer, Cancel, Edit, Prune, Purge, Redrive, RunNow
from outlast.core.store.records import Query
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk, failure, lost, raw
from tests.support.stores import StoreCase

WHY = "moving to elsewhere"


async def hold(desk: Desk, id: str) -> Parcel:
    """Set a job aside and return its parcel."""
    answer = await desk.do(Hold(id, WHY))
    assert answer.parcel is not None
    assert (answer.ok, answer.changed, answer.why) == (True, 1, "")
    return answer.parcel


async def away(desk: Desk, id: str) -> Parcel:
    """Move a job away."""
    parcel = await hold(desk, id)
    assert await desk.do(Moved(id)) == Answer(True, 1)
    return parcel


@pytest.mark.parametrize("delay", [0, 50])
async def test_a_held_job_is_handed_to_nobody(desk: Desk, delay: float) -> None:
    await desk.publish("q.1", delay=delay, key="k")
    await hold(desk, "q.1")
    desk.clock.advance(100)
    assert await desk.claim() == []
    record = await desk.record("q.1")
    assert (record.state, record.reason) == ("waiting", WHY)
    assert (await desk.stats()).depth == 1


async def test_a_held_parked_job_is_handed_to_nobody(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 5))
    await hold(desk, "q.1")
    desk.clock.advance(100)
    assert await desk.claim() == []
    assert await desk.do(Unhold("q.1")) == Answer(True, 1)
    assert await desk.ids() == ["q.1"]


async def test_the_parcel_is_the_whole_job(desk: Desk) -> None:
    now = desk.clock.time()
    message = desk.message(
        "q.1",
        delay=5,
        args={"n": 1, "card": "4111"},
        priority="high",
        key="k",
        unique="u",
        expires=600,
        redacted=("card",),
        headers={"traceparent": "00-1"},
    )
    await desk.store.publish([message])
    desk.clock.advance(5)
    await desk.claim()
    await desk.store.save([Note(desk.fence("q.1"), "once", raw({"a": [1]}))])
    await desk.settle(Reschedule(desk.fence("q.1"), now + 100, 3, failure(2), crashes=1))
    parcel = await hold(desk, "q.1")
    assert parcel.message == message
    assert parcel.effects == raw({"a": [1]})
    assert (parcel.at, parcel.attempt, parcel.crashes, parcel.failures) == (now + 100, 3, 1, (failure(2),))
    assert await hold(desk, "q.1") == parcel, "holding twice answers the same"


async def test_a_job_is_held_for_one_place_alone(desk: Desk) -> None:
    await desk.publish("q.1")
    await hold(desk, "q.1")
    assert await desk.do(Hold("q.1", "moving to a third")) == Answer(False, why="held")


async def test_a_parcel_that_is_adopted_waits_as_the_job_did(desk: Desk) -> None:
    await desk.publish("q.1", delay=5, args={"n": 1}, priority="high", key="k", unique="u")
    await desk.publish("q.low", delay=99)
    desk.clock.advance(5)
    await desk.claim()
    await desk.store.save([Note(desk.fence("q.1"), "once", raw({"a": [1]}))])
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 100, 3, failure(2), crashes=1))
    before = await desk.record("q.1")
    parcel = await away(desk, "q.1")
    assert await desk.do(Adopt(parcel, "moving from there")) == Answer(True, 1)
    assert (await desk.record("q.1")).reason == "moving from there"
    desk.clock.advance(99)
    assert await desk.ids() == ["q.low"]
    assert await desk.do(Unhold("q.1")) == Answer(True, 1)
    assert await desk.record("q.1") == before
    desk.clock.advance(1)
    (delivery,) = await desk.claim()
    assert (delivery.message, delivery.attempt, delivery.crashes) == (parcel.message, 3, 1)


async def test_adopting_twice_changes_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    parcel = await away(desk, "q.1")
    assert await desk.apply(Adopt(parcel, WHY), Adopt(parcel, WHY)) == [Answer(True, 1), Answer(True)]
    assert (await desk.stats()).depth == 1
    await desk.do(Unhold("q.1"))
    await desk.claim()
    assert await desk.do(Adopt(parcel, WHY)) == Answer(True)
    await desk.finish("q.1")
    assert await desk.do(Adopt(parcel, WHY)) == Answer(True), "a job that ran here is known"
    assert await desk.state("q.1") == "succeeded"
    await desk.do(Purge(id="q.1"))
    assert await desk.do(Adopt(parcel, WHY)) == Answer(True), "and remembered"
    assert (await desk.stats()).depth == 0


async def test_a_moved_job_is_no_more_here_but_its_id_is_known(desk: Desk) -> None:
    await desk.publish("q.1", unique="u")
    await away(desk, "q.1")
    record = await desk.record("q.1")
    assert (record.state, record.reason) == ("cancelled", "moved")
    assert await desk.publish("q.1") == [Exists("q.1")]
    assert await desk.do(Redrive("q.1")) == Answer(False, why="moved")
    assert await desk.do(Edit("q.1", priority="high")) == Answer(False, why="ended")
    assert await desk.publish("q.2", unique="u") == [ACCEPTED]
    assert (await desk.stats()).depth == 1


async def test_a_moved_job_comes_back(desk: Desk) -> None:
    await desk.declare("q", records=1)
    await desk.publish("q.1", "q.2")
    parcels = [await away(desk, "q.1"), await away(desk, "q.2")]
    await desk.do(Prune())
    assert await desk.state("q.1") == "unknown", "its record is gone by the cap, but not its id"
    assert await desk.apply(*(Adopt(each, WHY) for each in parcels)) == [Answer(True, 1)] * 2
    await desk.apply(Unhold("q.1"), Unhold("q.2"))
    assert await desk.ids() == ["q.1", "q.2"]
    await desk.finish("q.1")
    await desk.finish("q.2")
    assert (await desk.stats()).depth == 0
    assert await desk.store.count(Query()) == {"succeeded": 1}


async def test_only_a_held_job_ends_as_moved(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.apply(Moved("q.1"), Unhold("q.1")) == [Answer(False, why="not-waiting")] * 2
    await desk.claim()
    assert await desk.do(Hold("q.1", WHY)) == Answer(False, why="running")
    await desk.finish("q.1")
    assert await desk.apply(Hold("q.1", WHY), Moved("q.1"), Unhold("q.1")) == [Answer(False, why="ended")] * 3
    assert await desk.apply(Hold("q.2", WHY), Moved("q.2"), Unhold("q.2")) == [Answer(False, why="unknown")] * 3


async def test_no_other_command_but_a_purge_changes_a_held_job(desk: Desk) -> None:
    await desk.publish("q.1")
    await hold(desk, "q.1")
    for command in (Cancel("q.1"), Redrive("q.1"), Edit("q.1", priority="high"), RunNow("q.1")):
        assert await desk.do(command) == Answer(False, why="held")
    assert await desk.do(Purge(id="q.1")) == Answer(True, 1)
    assert (await desk.stats()).depth == 0


async def test_a_late_report_about_a_held_job_changes_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    await hold(desk, "q.1")
    fence = desk.fence("q.1")
    assert await desk.settle(Finish(fence, "succeeded")) == lost([fence])
    assert await desk.extend(A) == lost([fence])
    assert await desk.state("q.1") == "waiting"
    await desk.do(Unhold("q.1"))
    (delivery,) = await desk.claim(holder=B)
    assert delivery.crashes == 1


async def test_a_held_job_does_not_expire_until_it_waits_again(desk: Desk) -> None:
    await desk.publish("q.1", expires=5)
    await hold(desk, "q.1")
    desk.clock.advance(6)
    assert await desk.state("q.1") == "waiting"
    await desk.do(Unhold("q.1"))
    assert await desk.state("q.1") == "expired"


async def test_a_parcel_whose_key_is_held_here_is_refused(desk: Desk) -> None:
    await desk.publish("q.1", unique="u")
    parcel = await away(desk, "q.1")
    await desk.publish("q.2", unique="u")
    assert await desk.do(Adopt(parcel, WHY)) == Answer(False, why="conflict")
    assert await desk.state("q.2") == "ready"


async def test_a_key_that_was_freed_at_the_start_is_not_taken_along(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("u", until="start"))
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2))
    assert (await hold(desk, "q.1")).message.unique is None


async def test_a_parcel_that_is_too_large_is_refused(case: StoreCase, tmp_path: Path) -> None:
    clock = FakeClock()
    small = Desk(case.make(tmp_path, clock, 20), clock)
    await small.store.open()
    wide = small.message("q.2", args={"n": "x" * 1000})
    answer = await small.do(Adopt(Parcel(message=wide, at=0, rank=0), WHY))
    assert answer == Answer(False, why="too-large")
    await small.store.close()


async def test_a_full_queue_takes_a_parcel(desk: Desk) -> None:
    await desk.publish("q.1")
    parcel = await away(desk, "q.1")
    await desk.declare("q", max_depth=1)
    await desk.publish("q.2")
    assert await desk.do(Adopt(parcel, WHY)) == Answer(True, 1)
    assert (await desk.stats()).depth == 2


async def test_a_claim_for_nothing_takes_up_the_jobs_of_the_dead(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    desk.clock.advance(60)
    assert await desk.store.claim({}, limit=1, holder=Holder("m" * 32), lease=1, wait=0) == []
    assert await desk.state("q.1") == "ready"


async def test_held_jobs_leave_their_keys_in_turn(desk: Desk) -> None:
    for id, key in (("q.a1", "a"), ("q.a2", "a"), ("q.b1", "b"), ("q.n1", None)):
        await desk.publish(id, key=key)
        desk.clock.advance(1)
    await hold(desk, "q.a1")
    await hold(desk, "q.b1")
    assert (await desk.stats()).ready == 2
    assert sorted(await desk.ids()) == ["q.a2", "q.n1"]
    await desk.apply(Unhold("q.a1"), Unhold("q.b1"))
    assert (await desk.stats()).ready == 2
    assert sorted(await desk.ids()) == ["q.a1", "q.b1"]
    await desk.finish("q.a1")
    parcel = await away(desk, await _published(desk, "q.b2", "b"))
    await desk.apply(Adopt(parcel, WHY), Unhold("q.b2"))
    assert await desk.ids() == ["q.b2"]
    assert (await desk.stats()).depth == 4


async def _published(desk: Desk, id: str, key: str) -> str:
    await desk.publish(id, key=key)
    return id
