"""Retention: which ended jobs stay to be looked at, and for how long."""

from __future__ import annotations

import pytest

from outlast.core.message import Terminal
from outlast.core.settlement import ACCEPTED, Exists
from outlast.core.store.control import Cancel, Prune, Purge, Redrive
from outlast.core.store.records import Query
from outlast.core.unique import Unique
from tests.support.jobs import Desk, failure, raw


async def known(desk: Desk, *ids: str) -> list[str]:
    return [id for id in ids if await desk.state(id) != "unknown"]


async def test_the_oldest_end_goes_first_beyond_the_bound(desk: Desk) -> None:
    await desk.declare("q", records=2)
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim()
    for id in ("q.3", "q.1", "q.2"):
        desk.clock.advance(1)
        await desk.finish(id)
    assert await known(desk, "q.1", "q.2", "q.3") == ["q.1", "q.2"]


@pytest.mark.parametrize("state", ["succeeded", "cancelled", "expired"])
async def test_each_end_but_dead_counts_to_the_bound(desk: Desk, state: str) -> None:
    await desk.declare("q", records=1)
    await desk.run("q.1", state=state)
    desk.clock.advance(1)
    await desk.run("q.2", state=state)
    assert await known(desk, "q.1", "q.2") == ["q.2"]


async def test_the_bound_is_each_queues_own(desk: Desk) -> None:
    await desk.declare("q", records=1)
    await desk.declare("r", records=1)
    await desk.run("q.1", "r.1")
    assert await known(desk, "q.1", "r.1") == ["q.1", "r.1"]


async def test_records_go_after_their_time(desk: Desk) -> None:
    await desk.declare("q", record_ttl=100)
    await desk.run("q.1")
    desk.clock.advance(60)
    await desk.run("q.2")
    desk.clock.advance(50)
    assert (await desk.do(Prune())).ok
    assert await known(desk, "q.1", "q.2") == ["q.2"]


@pytest.mark.parametrize("state", ["succeeded", "cancelled", "expired"])
async def test_records_that_went_after_their_time_count_no_more(desk: Desk, state: Terminal) -> None:
    await desk.declare("q", records=2, record_ttl=10)
    await desk.run("q.1", "q.2", state=state)
    desk.clock.advance(11)
    await desk.do(Prune())
    await desk.run("q.3", "q.4", state=state)
    assert await known(desk, "q.1", "q.2", "q.3", "q.4") == ["q.3", "q.4"]


async def test_unfinished_jobs_stay_however_old(desk: Desk) -> None:
    await desk.declare("q", record_ttl=1, records=0, dead_ttl=1)
    await desk.publish("q.ready", "q.running")
    await desk.publish("q.later", delay=10**7)
    await desk.claim(limit=1)
    desk.clock.advance(10**6)
    await desk.do(Prune())
    assert await known(desk, "q.ready", "q.running", "q.later") == ["q.ready", "q.running", "q.later"]
    assert (await desk.stats()).depth == 3


async def test_a_job_with_a_result_stays_for_the_results_time_and_is_not_counted(desk: Desk) -> None:
    await desk.declare("q", records=1, record_ttl=10)
    await desk.run("q.1", result=raw(1), result_ttl=1000.0)
    await desk.run("q.2", "q.3")
    desk.clock.advance(900)
    await desk.do(Prune())
    assert await known(desk, "q.1", "q.2", "q.3") == ["q.1"]
    assert (await desk.record("q.1")).result == 1
    desk.clock.advance(200)
    await desk.do(Prune())
    assert await known(desk, "q.1") == []


async def test_a_result_that_is_kept_for_no_time_leaves_the_record(desk: Desk) -> None:
    await desk.run("q.1", result=raw(1), result_ttl=0.0)
    record = await desk.record("q.1")
    assert (record.state, record.result) == ("succeeded", None)


@pytest.mark.parametrize(
    ("settings", "kept"), [({"records": 3}, 3), ({"records": 1, "results": 5}, 5), ({"results": 0}, 0)]
)
async def test_jobs_with_a_result_have_a_bound_by_number(desk: Desk, settings: dict[str, int], kept: int) -> None:
    await desk.declare("q", **settings)
    await desk.declare("r")
    ids = [f"q.{n}" for n in range(8)]
    for id in ids:
        desk.clock.advance(1)
        await desk.run(id, result=raw(1))
    await desk.run("r.1", result=raw(1))
    await desk.do(Prune())
    assert await known(desk, *ids) == ids[len(ids) - kept :]
    assert await known(desk, "r.1") == ["r.1"]
    assert [len(await desk.publish(id)) for id in ids] == [1] * 8
    assert (await desk.stats()).depth == 0  # their ids are remembered


async def test_the_result_whose_time_ends_first_goes_first_beyond_the_bound(desk: Desk) -> None:
    await desk.declare("q", results=2)
    await desk.run("q.short", result=raw(1), result_ttl=10.0)
    for id in ("q.long", "q.1", "q.2"):
        await desk.run(id, result=raw(1), result_ttl=5000.0 if id == "q.long" else 100.0)
        desk.clock.advance(1)
    await desk.do(Prune())
    assert await known(desk, "q.short", "q.long", "q.1", "q.2") == ["q.long", "q.2"]


async def test_a_purged_result_makes_room_for_another(desk: Desk) -> None:
    await desk.declare("q", results=2)
    for id in ("q.1", "q.2"):
        desk.clock.advance(1)
        await desk.run(id, result=raw(1))
    await desk.do(Purge(id="q.2"))
    desk.clock.advance(1)
    await desk.run("q.3", result=raw(1))
    await desk.do(Prune())
    assert await known(desk, "q.1", "q.2", "q.3") == ["q.1", "q.3"]


async def test_more_results_than_one_step_removes_are_bounded_by_one_prune(desk: Desk) -> None:
    await desk.declare("q")
    ended = [f"q.{number}" for number in range(700)]
    await desk.publish(*ended)
    await desk.claim(limit=700)
    await desk.finish(*ended, result=raw(1))
    await desk.declare("q", results=50)
    await desk.do(Prune())
    assert sum((await desk.store.count(Query(queue="q"))).values()) == 50


async def test_each_result_has_a_time_of_its_own(desk: Desk) -> None:
    await desk.run("q.long", result=raw(1), result_ttl=1000.0)
    await desk.run("q.short", result=raw(1), result_ttl=10.0)
    desk.clock.advance(100)
    await desk.do(Prune())
    assert await known(desk, "q.long", "q.short") == ["q.long"]


async def test_dead_letters_stay_for_their_own_time_and_are_not_counted(desk: Desk) -> None:
    await desk.declare("q", records=1, record_ttl=10, dead_ttl=1000)
    await desk.run("q.dead1", "q.dead2", state="dead")
    await desk.run("q.1", "q.2")
    desk.clock.advance(900)
    await desk.do(Prune())
    assert await known(desk, "q.dead1", "q.dead2", "q.1", "q.2") == ["q.dead1", "q.dead2"]
    desk.clock.advance(200)
    await desk.do(Prune())
    assert await known(desk, "q.dead1", "q.dead2") == []


async def test_a_dead_letter_keeps_its_failures_when_records_go(desk: Desk) -> None:
    await desk.declare("q", records=1, dead_ttl=100)
    await desk.run("q.dead", state="dead", error=failure())
    for id in ("q.1", "q.2", "q.3"):
        desk.clock.advance(1)
        await desk.run(id)
    assert await known(desk, "q.1", "q.2", "q.3") == ["q.3"]
    assert (await desk.record("q.dead")).failures == (failure(),)


async def test_a_job_that_waits_keeps_its_arguments_when_records_go(desk: Desk) -> None:
    await desk.declare("q", records=0)
    await desk.publish("q.later", delay=5, args={"n": 1})
    await desk.run("q.1", "q.2")
    desk.clock.advance(5)
    (delivery,) = await desk.claim()
    assert (delivery.message.id, delivery.message.args) == ("q.later", raw({"n": 1}))


async def test_what_is_kept_for_a_time_goes_at_its_end(desk: Desk) -> None:
    await desk.declare("q", record_ttl=10, dead_ttl=10)
    await desk.run("q.1")
    await desk.run("q.dead", state="dead")
    await desk.run("q.result", result=raw(1), result_ttl=10.0)
    desk.clock.advance(10)
    assert (await desk.do(Prune())).changed == 3


async def test_prune_tells_how_many_went(desk: Desk) -> None:
    await desk.declare("q", record_ttl=10)
    await desk.run("q.1", "q.2")
    assert (await desk.do(Prune())).changed == 0
    desk.clock.advance(11)
    assert (await desk.do(Prune())).changed == 2


async def test_one_prune_removes_more_records_than_one_step(desk: Desk) -> None:
    await desk.declare("q", record_ttl=10, dead_ttl=10)
    ended = [f"q.{number}" for number in range(300)]
    await desk.publish(*ended)
    await desk.claim(limit=300)
    await desk.finish(*ended[:250])
    await desk.finish(*ended[250:], state="dead")
    desk.clock.advance(11)
    assert (await desk.do(Prune())).changed == 300
    assert await known(desk, *ended) == []


async def test_a_redriven_job_is_not_what_retention_takes(desk: Desk) -> None:
    await desk.declare("q", record_ttl=10, dead_ttl=10, records=1)
    await desk.run("q.dead", state="dead")
    await desk.run("q.gone", state="cancelled")
    await desk.apply(Redrive("q.dead"), Redrive("q.gone"))
    desk.clock.advance(100)
    await desk.do(Prune())
    assert [await desk.state("q.dead"), await desk.state("q.gone")] == ["ready", "ready"]


async def test_a_job_cancelled_by_command_is_kept_like_others(desk: Desk) -> None:
    await desk.declare("q", record_ttl=10)
    await desk.publish("q.1")
    await desk.do(Cancel("q.1"))
    assert await desk.state("q.1") == "cancelled"
    desk.clock.advance(11)
    await desk.do(Prune())
    assert await desk.state("q.1") == "unknown"


async def test_the_bound_holds_after_the_records_time_was_made_shorter(desk: Desk) -> None:
    await desk.declare("q", records=3, record_ttl=86_400.0)
    await desk.run(*(f"q.a{n}" for n in range(6)))
    await desk.declare("q", records=3, record_ttl=60.0)
    await desk.run(*(f"q.b{n}" for n in range(6)))
    assert sum((await desk.store.count(Query(queue="q"))).values()) == 3


ONCE = Unique("k", seconds=1000.0)


@pytest.mark.parametrize("state", ["succeeded", "dead", "expired"])
@pytest.mark.parametrize("with_result", [False, True])
async def test_a_unique_key_for_a_time_is_kept_for_that_time(desk: Desk, state: Terminal, with_result: bool) -> None:
    await desk.declare("q", records=1, results=1, record_ttl=10, dead_ttl=10, id_memory=10)
    await desk.publish("q.1", unique=ONCE)
    await desk.claim()
    await desk.finish("q.1", state=state, **({"result": raw(1), "result_ttl": 10.0} if with_result else {}))
    for passed in (20, 400, 500, 79):  # 999 in total
        desk.clock.advance(passed)
        await desk.do(Prune())
        await desk.run(f"q.after-{passed}")
        assert await known(desk, "q.1") == []
        assert await desk.publish("q.2", unique=ONCE) == [Exists("q.1", "unique")]
    desk.clock.advance(2)
    await desk.do(Prune())
    assert await desk.publish("q.2", unique=ONCE) == [ACCEPTED]


async def test_a_unique_key_for_a_time_is_kept_when_its_job_was_shed(desk: Desk) -> None:
    await desk.declare("q", records=0, record_ttl=10, dead_ttl=10, id_memory=10, max_depth=1, on_full="shed")
    await desk.publish("q.shed", unique=ONCE, priority="low")
    await desk.run("q.1")
    desk.clock.advance(990)
    await desk.do(Prune())
    assert await desk.publish("q.2", unique=ONCE) == [Exists("q.shed", "unique")]
    desk.clock.advance(20)
    await desk.do(Prune())
    assert await desk.publish("q.2", unique=ONCE) == [ACCEPTED]


async def test_a_unique_key_whose_time_is_over_does_not_take_the_next_holders_key(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=10.0))
    desk.clock.advance(11)
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]
    desk.clock.advance(10**4)
    await desk.do(Prune())
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]


async def test_what_ended_and_was_removed_in_one_call_counts_against_no_bound(desk: Desk) -> None:
    await desk.declare("q", records=2)
    await desk.run("q.1")
    await desk.publish("q.2")
    answers = await desk.apply(Cancel("q.2"), Purge(id="q.2"))
    assert [each.ok for each in answers] == [True, True]
    await desk.run("q.3")
    await desk.do(Prune())
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["succeeded", "unknown", "succeeded"]
