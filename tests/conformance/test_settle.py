"""settle: what counts, what is lost, and that repeating changes nothing."""

from __future__ import annotations

import pytest

from outlast.core.message import Fence, Terminal, Usage
from outlast.core.settlement import Finish, Lost, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Cancel, Purge, Redrive
from tests.support.jobs import LEASE, A, B, Desk, failure, lost, raw


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
async def test_a_finish_ends_the_job_in_its_state(desk: Desk, state: Terminal) -> None:
    why, error = (None, None) if state == "succeeded" else ("why", failure(1))
    await desk.publish("q.1")
    await desk.claim()
    desk.clock.advance(3)
    assert await desk.settle(Finish(desk.fence("q.1"), state, why, error=error)) == []
    record = await desk.record("q.1")
    assert (record.state, record.reason, record.finished_at) == (state, why, desk.clock.time())
    assert record.failures == ((error,) if error else ())
    assert record.holder is None
    assert (await desk.stats()).depth == 0
    desk.clock.advance(LEASE + 1)
    assert await desk.claim(holder=B) == []


async def test_nothing_settled_is_nothing_lost(desk: Desk) -> None:
    assert await desk.settle() == []


async def test_a_result_is_kept(desk: Desk) -> None:
    await desk.run("q.1", result=raw({"n": 1}))
    assert (await desk.record("q.1")).result == {"n": 1}


async def test_a_repeated_finish_changes_nothing(desk: Desk) -> None:
    await desk.run("q.1", result=raw(1))
    before = await desk.record("q.1")
    desk.clock.advance(5)
    assert await desk.finish("q.1", result=raw(1)) == []
    assert await desk.record("q.1") == before
    assert (await desk.stats()).depth == 0


async def test_a_repeated_finish_is_none_lost_when_the_record_is_gone(desk: Desk) -> None:
    await desk.declare("q", records=0)
    await desk.run("q.1")
    assert await desk.state("q.1") == "unknown"
    assert await desk.finish("q.1") == []


@pytest.mark.parametrize("kind", ["retry", "release", "park"])
async def test_a_repeated_giving_back_changes_nothing(desk: Desk, kind: str) -> None:
    await desk.publish("q.1")
    (delivery,) = await desk.claim()
    at = desk.clock.time() + 5
    back: dict[str, Settlement] = {
        "retry": Reschedule(delivery.fence, at, 2, failure(1)),
        "release": Release(delivery.fence, at),
        "park": Park(delivery.fence, at),
    }
    assert await desk.settle(back[kind]) == []
    before = await desk.record("q.1")
    assert await desk.settle(back[kind]) == []
    assert await desk.record("q.1") == before
    assert (await desk.stats()).depth == 1


async def test_a_settlement_twice_in_one_batch_counts_once(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    again = Reschedule(desk.fence("q.1"), desk.clock.time(), 2, failure(1))
    assert await desk.settle(again, again) == []
    record = await desk.record("q.1")
    assert (record.attempt, len(record.failures)) == (2, 1)


async def test_a_fence_handed_out_again_is_superseded(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim(holder=A))[0].fence
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    for settlement in (Finish(old, "succeeded"), Reschedule(old, 0.0, 2), Release(old), Park(old, 0.0)):
        assert await desk.settle(settlement) == lost([old])
    assert (await desk.record("q.1")).holder == B.id
    assert await desk.finish("q.1") == []


async def test_a_fence_handed_out_again_to_the_same_holder_is_superseded(desk: Desk) -> None:
    await desk.publish("q.1")
    old = (await desk.claim())[0].fence
    await desk.settle(Release(old))
    await desk.claim()
    assert await desk.settle(Finish(old, "succeeded")) == lost([old])
    assert await desk.state("q.1") == "running"


async def test_a_stale_and_a_live_fence_of_one_job_in_one_batch(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    old = {each.message.id: each.fence for each in await desk.claim(holder=A)}
    desk.clock.advance(LEASE + 1)
    await desk.claim(holder=B)
    stale_first = [Finish(old["q.1"], "dead", "stale"), Finish(desk.fence("q.1"), "succeeded")]
    live_first = [Finish(desk.fence("q.2"), "succeeded"), Finish(old["q.2"], "dead", "stale")]
    assert await desk.settle(*stale_first, *live_first) == lost([old["q.1"], old["q.2"]])
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["succeeded", "succeeded"]
    assert (await desk.stats()).depth == 0


async def test_a_fence_past_its_lease_counts_while_nobody_took_the_job(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    assert (await desk.record("q.1")).crashes == 1
    assert await desk.finish("q.1") == []
    assert await desk.state("q.1") == "succeeded"
    assert await desk.claim(holder=B) == []
    assert (await desk.stats()).depth == 0


async def test_a_late_giving_back_shows_that_its_holder_had_not_crashed(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    assert await desk.settle(Release(desk.fence("q.1"))) == []
    record = await desk.record("q.1")
    assert (record.state, record.crashes) == ("ready", 0)


async def test_a_late_retry_counts(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.lapse()
    at = desk.clock.time() + 50
    assert await desk.settle(Reschedule(desk.fence("q.1"), at, 2, failure(1), crashes=0)) == []
    record = await desk.record("q.1")
    assert (record.state, record.attempt, record.crashes, record.run_at) == ("scheduled", 2, 0, at)
    assert await desk.claim(holder=B) == []


async def test_a_fence_of_a_job_cancelled_while_it_waited_is_superseded(desk: Desk) -> None:
    await desk.publish("q.1")
    fence = (await desk.claim())[0].fence
    await desk.lapse()
    await desk.do(Cancel("q.1"))
    assert await desk.settle(Finish(fence, "succeeded")) == lost([fence])
    assert await desk.state("q.1") == "cancelled"


async def test_a_report_from_before_a_command_is_superseded(desk: Desk) -> None:
    await desk.publish("q.1")
    fence = (await desk.claim())[0].fence
    await desk.settle(Reschedule(fence, desk.clock.time() + 5, 2))
    await desk.do(Cancel("q.1"))
    assert await desk.settle(Finish(fence, "succeeded")) == lost([fence])
    await desk.do(Redrive("q.1"))
    assert await desk.settle(Finish(fence, "succeeded")) == lost([fence])
    assert await desk.state("q.1") == "ready"


async def test_a_fence_of_a_purged_job_is_superseded(desk: Desk) -> None:
    await desk.publish("q.1")
    fence = (await desk.claim())[0].fence
    await desk.do(Purge(id="q.1"))
    assert await desk.settle(Finish(fence, "succeeded")) == lost([fence])
    assert await desk.state("q.1") == "unknown"


async def test_an_old_fence_of_a_redriven_job_ends_it_no_more(desk: Desk) -> None:
    await desk.run("q.1", state="dead")
    old = desk.fence("q.1")
    await desk.do(Redrive("q.1"))
    await desk.claim(holder=B)
    assert await desk.settle(Finish(old, "dead", "again")) == lost([old])
    assert await desk.state("q.1") == "running"


async def test_a_fence_of_an_unknown_job_is_superseded(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    other = desk.fence("q.1")
    await desk.do(Purge(id="q.1"))
    await desk.publish("q.3")
    await desk.claim()
    assert await desk.settle(Finish(other, "succeeded"), Finish(desk.fence("q.3"), "succeeded")) == [
        Lost(other, "superseded")
    ]
    assert await desk.state("q.2") == "running"


async def test_many_in_one_batch_of_every_kind(desk: Desk) -> None:
    ids = [f"q.{n}" for n in range(400)]
    await desk.publish(*ids)
    await desk.claim(limit=1000)
    at = desk.clock.time() + 5
    batch: list[Settlement] = []
    for n, id in enumerate(ids):
        fence = desk.fence(id)
        batch.append((Finish(fence, "succeeded"), Reschedule(fence, at, 2), Release(fence, at), Park(fence, at))[n % 4])
    assert await desk.settle(*batch) == []
    stats = await desk.stats()
    assert (stats.depth, stats.scheduled, stats.parked, stats.running) == (300, 200, 100, 0)


async def test_what_a_run_used_is_kept_until_the_job_runs_again(desk: Desk) -> None:
    used = Usage(cpu=0.5, wall=1.25, peak=50_000_000)
    await desk.publish("q.1", "q.2")
    await desk.claim()
    assert (
        await desk.settle(
            Finish(desk.fence("q.1"), "succeeded", usage=used),
            Finish(desk.fence("q.2"), "dead", "gave-up", error=failure(1), usage=Usage(cpu=0.5, wall=1.25)),
        )
        == []
    )
    assert (await desk.record("q.1")).usage == used
    assert (await desk.record("q.2")).usage == Usage(cpu=0.5, wall=1.25)
    await desk.apply(Redrive("q.2"))
    assert (await desk.record("q.2")).usage is None
    await desk.claim()
    await desk.finish("q.2")
    record = await desk.record("q.2")
    assert (record.state, record.usage, record.progress) == ("succeeded", None, None)


async def test_settlements_of_a_queue_that_the_store_does_not_know_are_lost(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    known = [desk.fence(id) for id in ("q.1", "q.2")]
    unknown = [Fence(f"gone.{n}", "gone", known[0].token, 1000 + n) for n in range(3)]
    ends = [Finish(each, "succeeded") for each in (known[0], *unknown, known[1])]
    assert await desk.settle(*ends) == lost(unknown)
    assert [await desk.state(each.id) for each in known] == ["succeeded"] * 2
    assert await desk.settle(Reschedule(unknown[0], 0.0, 2), Release(unknown[1]), Park(unknown[2], 9.0)) == lost(
        unknown
    )
