"""Whether a job has begun: it expires only while it has not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from outlast.core.moving import Adopt, Hold, Unhold
from outlast.core.settlement import ACCEPTED, Park, Release, Reschedule
from outlast.core.store.control import Edit, Redrive
from outlast.core.store.records import Query
from tests.support.jobs import B, Desk, failure

LIFE = 5.0
"""Seconds in which the job of these tests must begin."""

Road = Callable[[Desk], Awaitable[object]]
"""What happens to the job after its first hand-out."""


def _settled(make: Callable[[Desk], Release | Reschedule | Park]) -> Road:
    async def road(desk: Desk) -> None:
        assert await desk.settle(make(desk)) == []

    return road


async def _lapse(desk: Desk) -> None:
    await desk.lapse()


async def _late_release(desk: Desk) -> None:
    await desk.lapse()
    await desk.settle(Release(desk.fence("q.1")))


async def _late_release_of_a_run(desk: Desk) -> None:
    await desk.lapse()
    await desk.settle(Release(desk.fence("q.1"), begun=True))


async def _released_again_unstarted(desk: Desk) -> None:
    await desk.settle(Release(desk.fence("q.1"), begun=True))
    await desk.claim()
    await desk.settle(Release(desk.fence("q.1")))


async def _edited(desk: Desk) -> None:
    await desk.settle(Release(desk.fence("q.1"), begun=True))
    await desk.do(Edit("q.1", priority="low"))


async def _held_and_returned(desk: Desk) -> None:
    await desk.settle(Release(desk.fence("q.1"), begun=True))
    await desk.apply(Hold("q.1", "test"), Unhold("q.1"))


async def _then_not_runnable(desk: Desk) -> None:
    await desk.settle(Release(desk.fence("q.1"), begun=True))
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 1, failure(), begun=False))


BEGUN: dict[str, Road] = {
    "released, claimed, and not runnable then": _then_not_runnable,
    "snoozed": _settled(lambda desk: Reschedule(desk.fence("q.1"), desk.clock.time() + 1, 1)),
    "snoozed after a crash": _settled(lambda desk: Reschedule(desk.fence("q.1"), desk.clock.time(), 1, crashes=2)),
    "retried": _settled(lambda desk: Reschedule(desk.fence("q.1"), desk.clock.time() + 1, 2, failure())),
    "stopped and released": _settled(lambda desk: Release(desk.fence("q.1"), begun=True)),
    "stopped and released for later": _settled(
        lambda desk: Release(desk.fence("q.1"), desk.clock.time() + 1, begun=True)
    ),
    "lapsed": _lapse,
    "crashed": lambda desk: desk.store.forfeit(B, crashed=True),
    "lapsed, and released by its holder": _late_release_of_a_run,
    "released, claimed, released unstarted": _released_again_unstarted,
    "edited": _edited,
    "held for a move, and returned": _held_and_returned,
}
NOT_BEGUN: dict[str, Road] = {
    "released unstarted": _settled(lambda desk: Release(desk.fence("q.1"))),
    "not runnable in a child process": _settled(
        lambda desk: Reschedule(desk.fence("q.1"), desk.clock.time() + 1, 1, failure(), begun=False)
    ),
    "parked": _settled(lambda desk: Park(desk.fence("q.1"), desk.clock.time() + 1)),
    "forfeited unstarted": lambda desk: desk.store.forfeit(B, crashed=False),
    "lapsed, and released unstarted": _late_release,
}


@pytest.mark.parametrize("road", BEGUN)
async def test_a_job_that_has_begun_does_not_expire(desk: Desk, road: str) -> None:
    await desk.publish("q.1", expires=LIFE)
    (first,) = await desk.claim(holder=B)
    assert not first.begun
    await BEGUN[road](desk)
    desk.clock.advance(LIFE + 1)
    record = await desk.record("q.1")
    assert (record.state, record.begun) == ("ready", True)
    assert await desk.store.count(Query()) == {"ready": 1}
    (again,) = await desk.claim()
    assert again.begun


@pytest.mark.parametrize("road", NOT_BEGUN)
async def test_a_job_that_was_given_back_unstarted_expires(desk: Desk, road: str) -> None:
    await desk.publish("q.1", expires=LIFE)
    await desk.claim(holder=B)
    await NOT_BEGUN[road](desk)
    desk.clock.advance(LIFE + 1)
    record = await desk.record("q.1")
    assert (record.state, record.begun) == ("expired", False)
    (again,) = await desk.claim()
    assert not again.begun


async def test_a_job_expires_at_its_time(desk: Desk) -> None:
    await desk.publish("q.1", unique="k", expires=LIFE)
    desk.clock.advance(LIFE)
    assert await desk.state("q.1") == "expired"
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]


async def test_a_redriven_job_begins_again_and_has_no_time_to_expire(desk: Desk) -> None:
    await desk.publish("q.1", expires=LIFE)
    await desk.claim()
    await desk.settle(Release(desk.fence("q.1"), begun=True))
    await desk.claim()
    await desk.finish("q.1", state="dead")
    assert (await desk.do(Redrive("q.1"))).ok
    record = await desk.record("q.1")
    assert (record.begun, record.expires_at) == (False, None)
    (delivery,) = await desk.claim()
    assert not delivery.begun


@pytest.mark.parametrize("begun", [True, False])
async def test_a_move_takes_along_whether_the_job_has_begun(desk: Desk, begun: bool) -> None:
    await desk.publish("q.1", expires=LIFE)
    await desk.claim()
    await desk.settle(Release(desk.fence("q.1"), begun=begun))
    parcel = (await desk.do(Hold("q.1", "test"))).parcel
    assert parcel is not None
    assert parcel.begun is begun
    other = structs.replace(parcel, message=structs.replace(parcel.message, id="q.2"))
    await desk.apply(Adopt(other, "test"), Unhold("q.2"))
    desk.clock.advance(LIFE + 1)
    record = await desk.record("q.2")
    assert (record.begun, record.state) == (begun, "ready" if begun else "expired")
