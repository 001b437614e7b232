"""Control: each command, and its answer where nothing could be done."""

from __future__ import annotations

import pytest

from outlast.core.message import Terminal
from outlast.core.settlement import ACCEPTED, Exists, Finish, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Answer, Cancel, Edit, Pause, Prune, Purge, Redrive, RunNow
from tests.support.jobs import A, B, Desk, failure, raw


async def test_answers_align_and_later_commands_see_earlier_ones(desk: Desk) -> None:
    await desk.publish("q.1")
    answers = await desk.apply(Cancel("q.1"), Cancel("q.1"), Redrive("q.1"), Purge(id="q.1"), Cancel("q.1"))
    assert answers == [
        Answer(True, 1),
        Answer(False, why="ended"),
        Answer(True, 1),
        Answer(True, 1),
        Answer(False, why="unknown"),
    ]
    assert await desk.apply() == []


@pytest.mark.parametrize("command", [Cancel("q.no"), Redrive("q.no"), Edit("q.no"), RunNow("q.no"), Purge(id="q.no")])
async def test_an_unknown_job(desk: Desk, command: Cancel | Redrive | Edit | RunNow | Purge) -> None:
    assert await desk.do(command) == Answer(False, why="unknown")


@pytest.mark.parametrize("delay", [0, 50])
async def test_cancel_ends_a_waiting_job(desk: Desk, delay: float) -> None:
    await desk.publish("q.1", delay=delay)
    assert await desk.do(Cancel("q.1")) == Answer(True, 1)
    record = await desk.record("q.1")
    assert (record.state, record.reason, record.finished_at) == ("cancelled", "cancelled", desk.clock.time())
    desk.clock.advance(100)
    assert await desk.claim() == []
    assert (await desk.stats()).depth == 0


async def test_cancel_ends_a_parked_job(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 5))
    assert await desk.do(Cancel("q.1")) == Answer(True, 1)
    desk.clock.advance(10)
    assert await desk.claim() == []


async def test_cancel_asks_the_holder_of_a_running_job_who_decides(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    assert await desk.do(Cancel("q.1")) == Answer(True, 1)
    assert (await desk.record("q.1")).state == "running"
    assert await desk.finish("q.1") == []
    record = await desk.record("q.1")
    assert (record.state, record.cancelling) == ("succeeded", False)


@pytest.mark.parametrize("back", ["retry", "release", "park"])
async def test_a_job_to_be_cancelled_that_is_given_back_ends_cancelled(desk: Desk, back: str) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.do(Cancel("q.1"))
    fence, at = desk.fence("q.1"), desk.clock.time() + 5
    given: dict[str, Settlement] = {
        "retry": Reschedule(fence, at, 2, failure(1)),
        "release": Release(fence, at),
        "park": Park(fence, at),
    }
    assert await desk.settle(given[back]) == []
    record = await desk.record("q.1")
    assert (record.state, record.reason) == ("cancelled", "cancelled")
    desk.clock.advance(10)
    assert await desk.claim(holder=B) == []
    assert (await desk.stats()).depth == 0


@pytest.mark.parametrize("state", ["dead", "cancelled", "expired"])
async def test_redrive_begins_anew(desk: Desk, state: str) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 4, failure(3), crashes=2))
    await desk.claim()
    await desk.finish("q.1", state=state, error=failure(4))  # type: ignore[arg-type]
    desk.clock.advance(5)
    assert await desk.do(Redrive("q.1")) == Answer(True, 1)
    record = await desk.record("q.1")
    assert (record.state, record.reason, record.finished_at) == ("ready", None, None)
    assert (record.attempt, record.crashes, len(record.failures)) == (1, 0, 2)
    stats = await desk.stats()
    assert (stats.depth, stats.dead) == (1, 0)
    (delivery,) = await desk.claim()
    assert (delivery.attempt, delivery.crashes) == (1, 0)
    assert delivery.message.run_at == desk.clock.time(), "a retry budget counts from here"
    assert await desk.finish("q.1") == []


async def test_redrive_of_a_job_that_has_not_ended_or_has_succeeded(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.do(Redrive("q.1")) == Answer(False, why="not-ended")
    await desk.claim()
    assert await desk.do(Redrive("q.1")) == Answer(False, why="not-ended")
    await desk.finish("q.1")
    assert await desk.do(Redrive("q.1")) == Answer(False, why="ended")
    assert await desk.state("q.1") == "succeeded"


async def test_a_redriven_expired_job_does_not_expire_again(desk: Desk) -> None:
    await desk.publish("q.1", expires=5)
    desk.clock.advance(6)
    await desk.claim()
    await desk.finish("q.1", state="expired")
    assert await desk.do(Redrive("q.1")) == Answer(True, 1)
    assert await desk.state("q.1") == "ready"
    (delivery,) = await desk.claim()
    assert delivery.message.expires_at is None


async def test_a_redriven_job_stands_behind_those_that_waited(desk: Desk) -> None:
    await desk.run("q.1", state="dead")
    desk.clock.advance(5)
    await desk.publish("q.2")
    desk.clock.advance(5)
    await desk.do(Redrive("q.1"))
    assert await desk.ids() == ["q.2", "q.1"]


async def test_edit_changes_what_it_names(desk: Desk) -> None:
    await desk.publish("q.1", args={"n": 1}, delay=10)
    assert await desk.do(Edit("q.1", args=raw({"n": 2}))) == Answer(True, 1)
    record = await desk.record("q.1")
    assert (record.args, record.priority, record.run_at) == ({"n": 2}, "normal", desk.clock.time() + 10)
    await desk.do(Edit("q.1", priority="high"))
    await desk.do(Edit("q.1", run_at=desk.clock.time() + 3))
    record = await desk.record("q.1")
    assert (record.args, record.priority, record.run_at) == ({"n": 2}, "high", desk.clock.time() + 3)
    desk.clock.advance(3)
    (delivery,) = await desk.claim()
    assert delivery.message.args == raw({"n": 2})
    assert delivery.message.priority == "high"


@pytest.mark.parametrize("state", ["dead", "cancelled", "expired"])
async def test_edit_of_an_ended_job_before_its_redrive(desk: Desk, state: str) -> None:
    await desk.publish("q.1", args={"n": 1, "card": "4111"}, redacted=("card",))
    await desk.claim()
    await desk.finish("q.1", state=state)  # type: ignore[arg-type]
    assert await desk.do(Edit("q.1", run_at=1.0)) == Answer(False, why="ended")
    answers = await desk.apply(Edit("q.1", change=raw({"n": 2, "m": None}), priority="high"), Redrive("q.1"))
    assert answers == [Answer(True, 1)] * 2
    (delivery,) = await desk.claim()
    assert delivery.message.args == raw({"n": 2, "card": "4111", "m": None})
    assert delivery.message.priority == "high"


async def test_edit_redrive_and_a_later_time_in_one_step(desk: Desk) -> None:
    await desk.run("q.1", state="dead")
    later = desk.clock.time() + 60
    await desk.apply(Edit("q.1", args=raw({"n": 2})), Redrive("q.1"), Edit("q.1", run_at=later))
    assert await desk.claim() == []
    record = await desk.record("q.1")
    assert (record.state, record.run_at, record.args) == ("scheduled", later, {"n": 2})
    assert (await desk.stats()).dead == 0


async def test_edit_of_some_arguments(desk: Desk) -> None:
    await desk.publish("q.1", args={"n": 1, "m": 1})
    await desk.do(Edit("q.1", change=raw({"n": {"deep": 2}})))
    assert (await desk.record("q.1")).args == {"n": {"deep": 2}, "m": 1}


async def test_edit_of_a_priority_moves_the_job(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.do(Edit("q.3", priority="high"))
    await desk.do(Edit("q.1", priority="low"))
    assert await desk.ids() == ["q.3", "q.2", "q.1"]


async def test_edit_of_a_time_makes_ready_or_schedules(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.publish("q.2", delay=50)
    await desk.apply(Edit("q.1", run_at=desk.clock.time() + 50), Edit("q.2", run_at=desk.clock.time()))
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["scheduled", "ready"]
    assert await desk.ids() == ["q.2"]


async def test_edit_and_run_now_leave_running_and_ended_jobs(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    assert await desk.apply(Edit("q.1", priority="low"), RunNow("q.1")) == [Answer(False, why="running")] * 2
    await desk.finish("q.1")
    assert await desk.apply(Edit("q.1", priority="low"), RunNow("q.1")) == [Answer(False, why="ended")] * 2
    assert (await desk.record("q.1")).priority == "normal"


async def test_run_now_makes_a_scheduled_job_ready(desk: Desk) -> None:
    await desk.publish("q.1", delay=1000)
    assert await desk.do(RunNow("q.1")) == Answer(True, 1)
    assert await desk.state("q.1") == "ready"
    assert await desk.ids() == ["q.1"]


async def test_run_now_makes_a_parked_job_ready(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 1000))
    assert await desk.do(RunNow("q.1")) == Answer(True, 1)
    assert await desk.ids() == ["q.1"]


async def test_run_now_keeps_the_attempt(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 1000, 3, crashes=1))
    await desk.do(RunNow("q.1"))
    (delivery,) = await desk.claim()
    assert (delivery.attempt, delivery.crashes) == (3, 1)


async def test_run_now_of_a_ready_job_has_nothing_to_do(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.do(RunNow("q.1")) == Answer(False, why="not-waiting")


async def test_run_now_does_not_overtake_the_whole_line(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.publish("q.2", delay=1000)
    desk.clock.advance(1)
    await desk.do(RunNow("q.2"))
    desk.clock.advance(1)
    await desk.publish("q.3")
    assert await desk.ids() == ["q.1", "q.2", "q.3"]


async def test_pause_lets_running_jobs_end_and_retries_wait(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim(limit=1)
    assert await desk.do(Pause("q")) == Answer(True, 1)
    assert await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2)) == []
    assert await desk.claim() == []
    assert await desk.publish("q.3") == [ACCEPTED]
    assert await desk.do(Pause("q", on=False)) == Answer(True, 1)
    assert len(await desk.claim()) == 3


async def test_a_pause_twice_changes_nothing_the_second_time(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.apply(Pause("q"), Pause("q")) == [Answer(True, 1), Answer(True, 0)]


async def test_a_pause_of_an_unknown_queue(desk: Desk) -> None:
    assert await desk.do(Pause("nowhere")) == Answer(False, why="unknown")


async def test_a_pause_outlives_a_declaration(desk: Desk) -> None:
    await desk.declare("q")
    await desk.do(Pause("q"))
    await desk.declare("q", max_depth=10)
    await desk.publish("q.1")
    assert await desk.claim() == []
    assert (await desk.stats()).paused


async def test_a_lapse_in_a_paused_queue_waits_there(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await desk.do(Pause("q"))
    await desk.lapse()
    assert await desk.claim(holder=B) == []
    assert await desk.state("q.1") == "ready"


async def test_purge_by_id_removes_whatever_its_state(desk: Desk) -> None:
    await desk.publish("q.run", "q.done")
    await desk.claim()
    await desk.finish("q.done", result=raw("secret"))
    await desk.publish("q.ready")
    ids = ["q.run", "q.done", "q.ready"]
    assert await desk.apply(*(Purge(id=id) for id in ids)) == [Answer(True, 1)] * 3
    assert await desk.store.get(ids) == [None, None, None]
    assert (await desk.stats()).depth == 0
    assert await desk.claim(holder=B) == []


async def test_a_purged_id_is_still_the_same_job(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.do(Purge(id="q.1"))
    assert await desk.publish("q.1") == [Exists("q.1", "id")]


async def test_purge_by_queue_and_states(desk: Desk) -> None:
    await desk.run("q.dead", state="dead")
    await desk.run("q.done")
    await desk.run("r.dead", state="dead")
    await desk.publish("q.ready")
    assert await desk.do(Purge(queue="q", states=("dead", "ready"))) == Answer(True, 2)
    found = await desk.store.get(["q.dead", "q.ready", "q.done", "r.dead"])
    assert [record is None for record in found] == [True, True, False, False]
    stats = await desk.stats()
    assert (stats.depth, stats.ready, stats.dead) == (0, 0, 0)


async def test_purge_by_id_and_states_leaves_what_is_in_another_state_now(desk: Desk) -> None:
    await desk.run("q.dead", state="dead")
    await desk.run("q.done")
    await desk.publish("q.ready", "q.over", expires=5)
    await desk.publish("q.late", delay=10)
    ids = ("q.dead", "q.done", "q.ready", "q.late", "q.no")
    answers = await desk.apply(*(Purge(id=id, states=("dead", "scheduled")) for id in ids))
    assert [(answer.ok, answer.why) for answer in answers] == [
        (True, ""),
        (False, "ended"),
        (False, "not-ended"),
        (True, ""),
        (False, "unknown"),
    ]
    assert [await desk.state(id) for id in ids] == ["unknown", "succeeded", "ready", "unknown", "unknown"]
    desk.clock.advance(6)
    assert await desk.do(Purge(id="q.over", states=("ready",))) == Answer(False, why="ended")
    assert await desk.do(Purge(id="q.over", states=("expired",))) == Answer(True, 1)


async def test_purge_of_a_whole_queue_asks_what_runs_to_stop(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim(limit=1)
    assert (await desk.do(Purge(queue="q"))).ok
    assert await desk.state("q.2") == "unknown"
    record = await desk.record("q.1")
    assert (record.state, record.cancelling) == ("running", True)
    assert [each.why for each in await desk.extend()] == ["cancelled"]
    assert await desk.settle(Finish(desk.fence("q.1"), "cancelled", "cancelled")) == []


async def test_purge_by_key_erases_everywhere_and_running_jobs_too(desk: Desk) -> None:
    await desk.publish("q.1", "r.1", "q.2", key="ann")
    await desk.publish("q.other", key="bob")
    await desk.claim(limit=1)
    await desk.publish("q.none")
    fence = desk.fence("q.1")
    assert await desk.do(Purge(key="ann")) == Answer(True, 3)
    assert await desk.store.get(["q.1", "r.1", "q.2"]) == [None, None, None]
    assert [each.why for each in await desk.settle(Finish(fence, "succeeded"))] == ["superseded"]
    assert sorted(await desk.ids("q", "r")) == ["q.none", "q.other"]


async def test_purge_by_key_and_states(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "r.1", key="ann")
    await desk.publish("q.3", key="ann", delay=100)
    await desk.publish("q.4", key="ann", expires=5)
    await desk.publish("q.5", key="bob")
    await desk.claim(limit=1)
    await desk.do(Cancel("q.2"))
    desk.clock.advance(6)
    assert await desk.do(Purge(queue="q", key="ann", states=("cancelled", "expired"))) == Answer(True, 2)
    assert await desk.do(Purge(key="ann", states=("dead", "parked"))) == Answer(True, 0)
    assert await desk.do(Purge(key="ann", states=("scheduled", "ready"))) == Answer(True, 2)
    assert [await desk.state(id) for id in ("q.1", "q.3", "r.1", "q.5")] == ["running", "unknown", "unknown", "ready"]
    assert await desk.do(Purge(key="ann", states=("running",))) == Answer(True, 1)
    assert [each.why for each in await desk.finish("q.1")] == ["superseded"]


async def test_purge_by_key_together_with_others_is_the_same(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", key="ann")
    await desk.publish("q.3", key="ann", delay=100)
    answers = await desk.apply(Cancel("q.1"), Purge(key="ann", states=("ready", "cancelled")))
    assert answers == [Answer(True, 1), Answer(True, 2)]
    assert await desk.state("q.3") == "scheduled"


async def test_purge_by_key_within_a_queue(desk: Desk) -> None:
    await desk.publish("q.1", "r.1", key="ann")
    assert await desk.do(Purge(queue="q", key="ann")) == Answer(True, 1)
    assert [await desk.state("q.1"), await desk.state("r.1")] == ["unknown", "ready"]


async def test_purge_of_nothing_named_is_refused(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.do(Purge()) == Answer(False, why="nothing-named")
    assert await desk.do(Purge(states=("ready",))) == Answer(False, why="nothing-named")
    assert await desk.state("q.1") == "ready"


async def test_prune_of_an_empty_store(desk: Desk) -> None:
    assert await desk.do(Prune()) == Answer(True, 0)


@pytest.mark.parametrize("state", ["cancelled", "dead", "expired"])
async def test_a_redriven_job_is_not_to_be_cancelled_any_more(desk: Desk, state: Terminal) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.do(Cancel("q.1"))
    await desk.finish("q.1", state=state)
    assert not (await desk.record("q.1")).cancelling
    assert (await desk.do(Redrive("q.1"))).ok
    assert await desk.ids() == ["q.1"]
    assert await desk.extend(A) == []
    assert await desk.settle(Release(desk.fence("q.1"))) == []
    assert await desk.ids() == ["q.1"]


async def test_an_id_that_was_purged_and_accepted_again_is_handed_out_once(desk: Desk) -> None:
    await desk.declare("q", id_memory=0)
    await desk.publish("q.1", "q.2")
    await desk.do(Purge(id="q.2"))
    desk.clock.advance(1)
    await desk.do(Prune())
    assert await desk.publish("q.2", "q.3") == [ACCEPTED, ACCEPTED]
    assert await desk.ids() == ["q.1", "q.2", "q.3"]
    assert (await desk.stats()).running == 3
