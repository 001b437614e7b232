"""forfeit: a dead holder's jobs are ready again at once."""

from __future__ import annotations

import pytest

from outlast.core.settlement import Release
from outlast.core.store.control import Cancel
from tests.support.jobs import A, B, Desk


@pytest.mark.parametrize("crashed", [True, False])
async def test_all_it_held_is_ready_and_crashes_are_counted_only_if_it_crashed(desk: Desk, crashed: bool) -> None:
    await desk.publish("q.1", "q.2", "r.1")
    await desk.claim("q", "r", holder=A)
    assert await desk.store.forfeit(A, crashed=crashed) == 3
    given = await desk.claim("q", "r", holder=B)
    assert sorted(each.message.id for each in given) == ["q.1", "q.2", "r.1"]
    assert {each.crashes for each in given} == {int(crashed)}
    assert {each.attempt for each in given} == {1}


async def test_nobody_elses_jobs_are_touched(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim(holder=A, limit=1)
    await desk.claim(holder=B, limit=1)
    assert await desk.store.forfeit(A, crashed=True) == 1
    assert (await desk.record("q.2")).holder == B.id


async def test_a_second_time_there_is_nothing_left(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    assert await desk.store.forfeit(A, crashed=True) == 1
    assert await desk.store.forfeit(A, crashed=True) == 0
    assert (await desk.record("q.1")).crashes == 1


async def test_an_unknown_holder_held_nothing(desk: Desk) -> None:
    assert await desk.store.forfeit(A, crashed=True) == 0


async def test_a_job_that_was_to_be_cancelled_ends_cancelled(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.do(Cancel("q.1"))
    await desk.store.forfeit(A, crashed=True)
    record = await desk.record("q.1")
    assert (record.state, record.reason) == ("cancelled", "cancelled")
    assert await desk.claim(holder=B) == []


async def test_it_keeps_its_place_in_the_line(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    desk.clock.advance(1)
    await desk.publish("q.2")
    await desk.store.forfeit(A, crashed=True)
    assert await desk.ids(holder=B) == ["q.1", "q.2"]


async def test_a_settlement_on_its_way_still_counts(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.store.forfeit(A, crashed=True)
    assert await desk.finish("q.1") == []
    assert await desk.state("q.1") == "succeeded"
    assert await desk.claim(holder=B) == []


async def test_a_late_release_of_a_dead_holder_does_not_take_its_crash_back(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    await desk.store.forfeit(A, crashed=True)
    assert await desk.settle(Release(desk.fence("q.1"))) == []
    assert (await desk.record("q.1")).crashes == 1


async def test_a_forfeited_holder_consumes_no_more(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    assert (await desk.stats()).consumers == 1
    await desk.store.forfeit(A, crashed=True)
    assert (await desk.stats()).consumers == 0
