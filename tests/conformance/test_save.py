"""save: notes about running jobs, fenced."""

from __future__ import annotations

from outlast.core.settlement import Finish, Note, Reschedule
from outlast.core.store.control import Purge, Redrive
from tests.support.jobs import LEASE, A, B, Desk, lost, raw


async def test_progress_shows_and_the_last_write_wins(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    fence = desk.fence("q.1")
    assert await desk.store.save([Note(fence, "progress", raw(1)), Note(fence, "progress", raw({"n": 2}))]) == []
    assert (await desk.record("q.1")).progress == {"n": 2}
    assert await desk.store.save([Note(fence, "progress", raw(3))]) == []
    assert (await desk.record("q.1")).progress == 3


async def test_effects_outlive_each_run_and_a_redrive(desk: Desk) -> None:
    await desk.publish("q.1")
    (first,) = await desk.claim()
    await desk.store.save([Note(first.fence, "once", raw({"a": [1]})), Note(first.fence, "progress", raw(2))])
    await desk.settle(Reschedule(first.fence, desk.clock.time(), 2))
    assert (await desk.record("q.1")).raw_effects == raw({"a": [1]})
    (second,) = await desk.claim()
    await desk.store.save([Note(second.fence, "once", raw({"a": [1], "b": []}))])
    await desk.settle(Finish(second.fence, "dead", reason="attempts"))
    await desk.do(Redrive(id="q.1"))
    assert (await desk.record("q.1")).raw_effects == raw({"a": [1], "b": []})
    assert (await desk.record("q.1")).progress == 2


async def test_a_step_is_not_progress(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    assert await desk.store.save([Note(desk.fence("q.1"), "step", raw(1))]) == []
    assert (await desk.record("q.1")).progress is None


async def test_progress_is_each_jobs_own_and_outlives_its_end(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.store.save([Note(desk.fence("q.1"), "progress", raw(1)), Note(desk.fence("q.2"), "progress", raw(2))])
    await desk.finish("q.1")
    assert (await desk.record("q.1")).progress == 1
    assert (await desk.record("q.2")).progress == 2


async def test_a_superseded_fence_saves_nothing(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    old = (await desk.claim(holder=A, limit=1))[0].fence
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    live = desk.fence("q.2")
    assert await desk.store.save([Note(old, "progress", raw("old")), Note(live, "progress", raw("new"))]) == lost([old])
    assert (await desk.record("q.1")).progress is None
    assert (await desk.record("q.2")).progress == "new"


async def test_a_settled_or_purged_job_takes_no_notes(desk: Desk) -> None:
    await desk.publish("q.done", "q.later", "q.gone")
    fences = [each.fence for each in await desk.claim()]
    await desk.finish("q.done")
    await desk.settle(Reschedule(desk.fence("q.later"), desk.clock.time() + 5, 2))
    await desk.do(Purge(id="q.gone"))
    assert await desk.store.save([Note(fence, "progress", raw(1)) for fence in fences]) == lost(fences)
    assert (await desk.record("q.done")).progress is None


async def test_a_fence_past_its_lease_saves_while_nobody_took_the_job(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    assert await desk.store.save([Note(desk.fence("q.1"), "progress", raw(1))]) == []


async def test_a_job_that_a_purge_only_asks_to_stop_keeps_its_notes(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.store.save([Note(desk.fence("q.1"), "progress", raw(1))])
    await desk.do(Purge(queue="q"))
    assert (await desk.record("q.1")).progress == 1


async def test_nothing_to_save(desk: Desk) -> None:
    assert await desk.store.save([]) == []
