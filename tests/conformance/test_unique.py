"""Unique keys: who holds one, and when it is free again."""

from __future__ import annotations

import pytest

from outlast.core.message import Terminal
from outlast.core.moving import Hold, Moved
from outlast.core.settlement import ACCEPTED, Exists, Finish, Release, Reschedule
from outlast.core.store.control import Cancel, Purge, Redrive
from outlast.core.unique import Unique
from tests.support.jobs import A, B, Desk


async def test_a_held_key_answers_with_its_job(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    assert await desk.publish("q.2", unique="k") == [Exists("q.1", "unique")]
    assert await desk.state("q.2") == "unknown"
    assert (await desk.stats()).depth == 1


async def test_within_one_batch_too(desk: Desk) -> None:
    assert await desk.publish("q.1", "q.2", unique="k") == [ACCEPTED, Exists("q.1", "unique")]


async def test_a_known_id_is_answered_before_a_held_key(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2")
    assert await desk.publish("q.2", unique="k") == [Exists("q.2", "id")]
    assert await desk.publish("q.1", unique="k") == [Exists("q.1", "id")]


async def test_a_key_is_of_one_queue(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    assert await desk.publish("r.1", unique="k") == [ACCEPTED]


async def test_other_keys_are_free(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    assert await desk.publish("q.2", unique="K") == [ACCEPTED]


async def test_a_refused_message_may_come_again(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2", unique="k")
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
async def test_until_finish_is_held_while_it_runs_and_freed_by_every_end(desk: Desk, state: Terminal) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    assert await desk.publish("q.2", unique="k") == [Exists("q.1", "unique")]
    await desk.finish("q.1", state=state)
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]


async def test_until_finish_is_held_through_retries_and_lapses(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2))
    assert await desk.publish("q.2", unique="k") == [Exists("q.1", "unique")]
    await desk.claim()
    await desk.lapse()
    assert await desk.publish("q.2", unique="k") == [Exists("q.1", "unique")]


async def test_until_finish_is_freed_by_a_cancel(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.do(Cancel("q.1"))
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]


async def test_until_finish_is_freed_when_a_flagged_job_lapses(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    await desk.do(Cancel("q.1"))
    await desk.lapse()
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]


async def test_until_start_is_freed_when_it_is_handed_out(desk: Desk) -> None:
    once = Unique("k", until="start")
    await desk.publish("q.1", unique=once)
    assert await desk.publish("q.2", unique=once) == [Exists("q.1", "unique")]
    await desk.claim()
    assert await desk.publish("q.2", unique=once) == [ACCEPTED]


async def test_until_start_is_not_taken_back_and_frees_only_its_own(desk: Desk) -> None:
    once = Unique("k", until="start")
    await desk.publish("q.1", unique=once)
    await desk.claim()
    await desk.publish("q.2", unique=once)
    await desk.settle(Release(desk.fence("q.1")))
    assert await desk.publish("q.3", unique=once) == [Exists("q.2", "unique")]
    assert await desk.ids(limit=1) == ["q.1"]
    assert await desk.publish("q.3", unique=once) == [Exists("q.2", "unique")]
    await desk.finish("q.1")
    assert await desk.publish("q.3", unique=once) == [Exists("q.2", "unique")]


async def test_until_start_is_freed_by_a_cancel_before_it(desk: Desk) -> None:
    once = Unique("k", until="start")
    await desk.publish("q.1", unique=once)
    await desk.do(Cancel("q.1"))
    assert await desk.publish("q.2", unique=once) == [ACCEPTED]


async def test_a_key_for_a_time_lapses_by_itself(desk: Desk) -> None:
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    desk.clock.advance(59)
    assert await desk.publish("q.2", unique=for_a_minute) == [Exists("q.1", "unique")]
    desk.clock.advance(2)
    assert await desk.publish("q.2", unique=for_a_minute) == [ACCEPTED]
    assert await desk.state("q.1") == "ready"


async def test_a_key_for_a_time_outlives_its_job(desk: Desk) -> None:
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.publish("q.2", unique=for_a_minute) == [Exists("q.1", "unique")]
    desk.clock.advance(61)
    assert await desk.publish("q.2", unique=for_a_minute) == [ACCEPTED]


@pytest.mark.parametrize("runs", [False, True])
async def test_a_key_for_a_time_is_freed_by_a_cancel(desk: Desk, runs: bool) -> None:
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    if runs:
        await desk.claim()
    await desk.do(Cancel("q.1"))
    if runs:
        await desk.finish("q.1", state="cancelled")
    assert await desk.publish("q.2", unique=for_a_minute) == [ACCEPTED]
    assert await desk.ids() == ["q.2"]


@pytest.mark.parametrize("state", ["succeeded", "dead", "expired"])
async def test_a_key_for_a_time_outlives_any_other_end(desk: Desk, state: Terminal) -> None:
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    await desk.claim()
    await desk.finish("q.1", state=state)
    assert await desk.publish("q.2", unique=for_a_minute) == [Exists("q.1", "unique")]


async def test_a_key_for_a_time_outlives_a_move(desk: Desk) -> None:
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    await desk.do(Hold("q.1", "a move"))
    await desk.do(Moved("q.1"))
    assert await desk.publish("q.2", unique=for_a_minute) == [Exists("q.1", "unique")]


async def test_a_key_for_a_time_outlives_its_jobs_record(desk: Desk) -> None:
    await desk.declare("q", records=0)
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.state("q.1") == "unknown"
    assert await desk.publish("q.2", unique=for_a_minute) == [Exists("q.1", "unique")]


async def test_the_late_end_of_a_job_whose_key_lapsed_frees_nobody_elses(desk: Desk) -> None:
    for_a_minute = Unique("k", seconds=60)
    await desk.publish("q.1", unique=for_a_minute)
    await desk.claim(lease=1000)
    desk.clock.advance(61)
    await desk.publish("q.2", unique=for_a_minute)
    await desk.finish("q.1")
    assert await desk.publish("q.3", unique=for_a_minute) == [Exists("q.2", "unique")]


async def test_kinds_of_keys_meet_under_one_name(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", until="start"))
    assert await desk.publish("q.2", unique=Unique("k")) == [Exists("q.1", "unique")]
    assert await desk.publish("q.2", unique=Unique("k", seconds=5)) == [Exists("q.1", "unique")]


async def test_a_purge_frees_the_key(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.do(Purge(id="q.1"))
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]


async def test_a_redriven_job_holds_its_key_again(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    await desk.finish("q.1", state="dead")
    assert (await desk.do(Redrive("q.1"))).ok
    assert await desk.publish("q.2", unique="k") == [Exists("q.1", "unique")]


async def test_a_redrive_does_not_break_somebody_elses_key(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    await desk.finish("q.1", state="dead")
    await desk.publish("q.2", unique="k")
    answer = await desk.do(Redrive("q.1"))
    assert (answer.ok, answer.why) == (False, "conflict")
    assert await desk.state("q.1") == "dead"


async def test_a_redriven_job_whose_key_was_for_a_time_needs_no_key(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=60))
    await desk.claim()
    await desk.finish("q.1", state="dead")
    desk.clock.advance(61)
    await desk.publish("q.2", unique="k")
    assert (await desk.do(Redrive("q.1"))).ok
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]


async def test_a_follow_up_with_a_held_key_is_the_job_that_holds_it(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2")
    assert sorted(await desk.ids(holder=A)) == ["q.1", "q.2"]
    follow = desk.message("q.3", unique="k")
    assert await desk.settle(Finish(desk.fence("q.2"), "succeeded", then=[follow])) == []
    assert (await desk.record("q.3")).id == "q.1"
    assert await desk.claim(holder=B) == []


async def test_a_batch_ends_a_holder_that_is_too_late_once(desk: Desk) -> None:
    await desk.publish("q.1", unique="k", expires=5)
    desk.clock.advance(6)
    assert await desk.publish("q.2", "q.3", unique="k") == [ACCEPTED, Exists("q.2", "unique")]
    stats = await desk.stats()
    assert (stats.depth, stats.ready) == (1, 1)
    assert await desk.state("q.1") == "expired"
