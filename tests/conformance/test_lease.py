"""Leases: one for all that a holder holds; what lapses, what is taken back, what is lost."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.limits import Limit
from outlast.core.message import Holder
from outlast.core.settlement import Finish, Lost, Release
from outlast.core.store.control import Cancel, Purge
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, C, Desk, lost


class SteppedClock(FakeClock):
    """Steps wall time by `step` seconds whenever time passes: a lease counts time that passes, whatever the date is."""

    step = 0.0

    def advance(self, seconds: float) -> None:
        self.step_wall(self.step)
        super().advance(seconds)


@pytest.fixture(params=[0.0, 3600.0, -3600.0], ids=["steady", "wall-ahead", "wall-back"])
def clock(request: pytest.FixtureRequest) -> FakeClock:
    clock = SteppedClock()
    clock.step = request.param
    return clock


async def test_a_live_lease_keeps_its_jobs(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    desk.clock.advance(LEASE - 1)
    assert await desk.claim(holder=B) == []


async def test_a_lapsed_lease_is_claimable_and_counts_a_crash(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    desk.clock.advance(LEASE + 1)
    (delivery,) = await desk.claim(holder=B)
    assert (delivery.message.id, delivery.attempt, delivery.crashes) == ("q.1", 1, 1)


async def test_every_lapse_counts(desk: Desk) -> None:
    await desk.publish("q.1")
    crashes = []
    for n in range(4):
        (delivery,) = await desk.claim(holder=Holder(f"{n:032}"))
        crashes.append(delivery.crashes)
        desk.clock.advance(LEASE + 1)
    assert crashes == [0, 1, 2, 3]


@pytest.mark.across_queues
async def test_a_lapse_is_noticed_by_a_claim_for_any_queue(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse("elsewhere")
    record = await desk.record("q.1")
    assert (record.state, record.crashes, record.holder) == ("ready", 1, None)


@pytest.mark.across_queues
async def test_claim_renews_all_that_its_holder_holds(desk: Desk) -> None:
    await desk.publish("q.1", "r.1")
    await desk.claim(holder=A)
    desk.clock.advance(LEASE - 1)
    assert await desk.ids("r", holder=A) == ["r.1"]
    desk.clock.advance(LEASE - 1)
    assert await desk.claim(holder=B) == []
    desk.clock.advance(2)
    assert await desk.ids(holder=B) == ["q.1"]


async def test_extend_renews_all_that_its_holder_holds(desk: Desk) -> None:
    await desk.publish("q.1", "r.1")
    await desk.claim("q", "r", holder=A)
    desk.clock.advance(LEASE - 1)
    assert await desk.extend(A) == []
    desk.clock.advance(LEASE - 1)
    assert await desk.claim("q", "r", holder=B) == []


async def test_extend_renews_nobody_else(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    desk.clock.advance(LEASE - 1)
    await desk.extend(B)
    desk.clock.advance(2)
    assert await desk.ids(holder=C) == ["q.1"]


async def test_extend_of_a_holder_that_holds_nothing(desk: Desk) -> None:
    assert await desk.extend(A) == []


async def test_the_lease_asked_for_is_the_lease_given(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A, lease=100)
    desk.clock.advance(99)
    assert await desk.claim(holder=B) == []
    await desk.extend(A, lease=3)
    desk.clock.advance(4)
    assert await desk.ids(holder=B) == ["q.1"]


async def test_a_lease_runs_from_the_claim_however_long_the_job_was_due(desk: Desk) -> None:
    await desk.publish("q.1")
    desk.clock.advance(1000)
    await desk.claim(holder=A)
    desk.clock.advance(LEASE - 1)
    assert await desk.claim(holder=B) == []


async def test_extend_takes_back_what_lapsed_before_anybody_noticed(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    desk.clock.advance(LEASE + 1)
    assert await desk.extend(A) == []
    assert await desk.claim(holder=B) == []
    record = await desk.record("q.1")
    assert (record.state, record.holder, record.crashes) == ("running", A.id, 0)


async def test_extend_takes_back_what_lapsed_and_was_not_handed_out_again(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    fences = [each.fence for each in await desk.claim(holder=A)]
    desk.clock.advance(LEASE + 1)
    assert await desk.ids(holder=B, limit=1) == ["q.1"]
    assert await desk.extend(A) == lost([fences[0]])
    record = await desk.record("q.2")
    assert (record.state, record.holder, record.crashes) == ("running", A.id, 0)
    assert await desk.claim(holder=C) == []
    assert await desk.settle(Finish(fences[1], "succeeded")) == []


@pytest.mark.parametrize(
    "limits",
    [{"concurrency": 2}, {"per_key": Limit(concurrency=2)}, {"concurrency": 2, "per_key": Limit(concurrency=2)}],
    ids=["queue", "key", "both"],
)
async def test_extend_takes_back_what_limits_leave_room_for(desk: Desk, limits: dict[str, Any]) -> None:
    await desk.declare("q", **limits)
    await desk.publish("q.1", "q.2", "q.3", key="ann")
    old = [each.fence for each in await desk.claim(holder=A)]
    assert [fence.id for fence in old] == ["q.1", "q.2"]
    await desk.lapse()
    assert await desk.ids(limit=1, holder=B) == ["q.1"]
    assert await desk.extend(A) == lost(old[:1])
    assert [(await desk.record(id)).holder for id in ("q.1", "q.2")] == [B.id, A.id]
    assert await desk.claim(holder=C) == []
    assert await desk.settle(Finish(old[1], "succeeded")) == []
    assert await desk.ids(holder=C) == ["q.3"]


@pytest.mark.parametrize("limits", [{"concurrency": 1}, {"per_key": Limit(concurrency=1)}], ids=["queue", "key"])
async def test_extend_takes_back_the_only_one_that_limits_let_run(desk: Desk, limits: dict[str, Any]) -> None:
    await desk.declare("q", **limits)
    await desk.publish("q.1", "q.2", key="ann")
    assert await desk.ids(holder=A) == ["q.1"]
    await desk.lapse()
    assert await desk.extend(A) == []
    assert (await desk.record("q.1")).holder == A.id
    assert await desk.claim(holder=C) == []


async def test_extend_takes_back_what_nobody_took_for_hours(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    desk.clock.advance(4 * 3600)
    await desk.lapse()
    assert await desk.extend(A) == []
    record = await desk.record("q.1")
    assert (record.state, record.holder, record.crashes) == ("running", A.id, 0)


async def test_who_has_a_lapsed_job_next_does_not_take_its_crash_back(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    await desk.claim(holder=B)
    assert await desk.extend(B) == []
    assert (await desk.record("q.1")).crashes == 1
    assert await desk.settle(Release(desk.fence("q.1"))) == []
    assert (await desk.record("q.1")).crashes == 1


async def test_extend_tells_of_all_that_are_lost_or_to_be_cancelled(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3", "q.4")
    old = [each.fence for each in await desk.claim(holder=A, limit=2)]
    desk.clock.advance(LEASE + 1)
    assert await desk.ids(holder=B, limit=2) == ["q.1", "q.2"]
    fences = [each.fence for each in await desk.claim(holder=A)]
    await desk.apply(Cancel("q.3"), Cancel("q.4"))
    told = await desk.extend(A)
    assert told[:2] == lost(old)
    assert sorted(told[2:], key=lambda each: each.fence.id) == lost(fences, "cancelled")


async def test_extend_tells_of_a_superseded_fence_once(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim(holder=A))[0].fence
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    assert await desk.extend(A) == lost([old])
    assert await desk.extend(A) == []


async def test_a_late_claim_takes_back_its_holders_own_jobs(desk: Desk) -> None:
    await desk.claim(holder=B)  # holders are numbered: A is not the first
    await desk.publish("q.1", "q.2")
    await desk.claim(holder=A, limit=1)
    desk.clock.advance(LEASE + 1)
    assert await desk.ids(holder=A) == ["q.2"]
    await desk.lapse()
    assert await desk.claim(holder=A) == []
    assert [(await desk.record(id)).crashes for id in ("q.1", "q.2")] == [0, 0]
    assert await desk.claim(holder=B) == []
    assert await desk.extend(A) == []
    assert await desk.finish("q.1", "q.2") == []


async def test_a_late_claim_does_not_hide_what_was_lost(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim(holder=A))[0].fence
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    assert await desk.claim(holder=A) == []
    assert await desk.extend(A) == lost([old])


@pytest.mark.parametrize("back", ["claim", "extend"])
async def test_what_was_taken_back_and_then_given_back_is_not_told_as_lost(desk: Desk, back: str) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    assert (await desk.claim(holder=A) if back == "claim" else await desk.extend(A)) == []
    assert (await desk.record("q.1")).holder == A.id
    await desk.settle(Release(desk.fence("q.1")))
    assert await desk.ids(holder=B) == ["q.1"]
    assert await desk.extend(A) == []


async def test_what_was_settled_is_not_told_as_lost(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.finish("q.1")
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    assert await desk.extend(A) == []


async def test_extend_tells_of_a_job_to_be_cancelled_each_time(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim(holder=A)
    await desk.do(Cancel("q.1"))
    told = [Lost(desk.fence("q.1"), "cancelled")]
    assert await desk.extend(A) == told
    assert await desk.extend(A) == told
    await desk.finish("q.1", state="cancelled")
    assert await desk.extend(A) == []


async def test_a_lapsed_job_that_was_to_be_cancelled_ends_cancelled(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim(holder=A))[0].fence
    await desk.do(Cancel("q.1"))
    await desk.lapse()
    record = await desk.record("q.1")
    assert (record.state, record.reason, record.crashes) == ("cancelled", "cancelled", 0)
    assert not record.cancelling
    assert await desk.claim(holder=B) == []
    assert (await desk.stats()).depth == 0
    assert await desk.settle(Finish(old, "succeeded")) == lost([old])


async def test_a_purged_running_job_is_told_as_superseded(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.do(Purge(id="q.1"))
    assert await desk.extend(A) == lost([desk.fence("q.1")])
    assert await desk.extend(A) == []


async def test_the_record_of_a_job_that_ends_late_tells_of_the_lapse(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    await desk.finish("q.1")
    record = await desk.record("q.1")
    assert (record.state, record.crashes) == ("succeeded", 1)


async def test_what_a_holder_gave_back_late_is_not_taken_back(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    await desk.settle(Release(desk.fence("q.1")))
    assert await desk.extend(A) == []
    assert await desk.ids(holder=B) == ["q.1"]
