"""The last update is not lost: a job that waits for its unique key while the key's holder cannot do its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from outlast.core.limits import Limit
from outlast.core.message import Message
from outlast.core.moving import Hold, Moved, Unhold
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Finish, Full, Park, Release, Reschedule
from outlast.core.store.control import Answer, Cancel, Edit, Pause, Prune, Purge, Redrive, RunNow
from outlast.core.store.records import Query
from outlast.core.store.store import Store
from outlast.core.unique import Unique
from outlast.enqueue.late import publish_late
from tests.support.jobs import LEASE, A, B, C, Desk, failure, raw

NEW: Final = Unique("k", replace=True)
PLAIN: Final = Unique("k")
FOR_A_MINUTE: Final = Unique("k", seconds=60, replace=True)


async def runs(desk: Desk, unique: Unique = PLAIN) -> None:
    await desk.publish("q.1", unique=unique)
    assert await desk.ids(holder=A) == ["q.1"]


async def is_cancelled(desk: Desk) -> None:
    await runs(desk)
    assert (await desk.do(Cancel("q.1"))).ok


async def is_purged_away(desk: Desk) -> None:
    await runs(desk)
    assert (await desk.do(Purge(queue="q"))).ok


async def is_held(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    assert (await desk.do(Hold("q.1", "a move"))).ok


async def is_late(desk: Desk) -> None:
    await desk.publish("q.1", unique="k", expires=5)
    desk.clock.advance(6)


HOLDERS: Final = {each.__name__: each for each in (runs, is_cancelled, is_purged_away, is_held, is_late)}


@pytest.mark.parametrize(
    ("holder", "unique", "meeting"),
    [
        ("runs", PLAIN, "exists"),
        ("runs", NEW, "follows"),
        ("is_cancelled", PLAIN, "follows"),
        ("is_cancelled", NEW, "follows"),
        ("is_purged_away", PLAIN, "follows"),
        ("is_held", PLAIN, "exists"),
        ("is_held", NEW, "follows"),
        ("is_late", PLAIN, "takes"),
        ("is_late", NEW, "takes"),
    ],
)
async def test_who_meets_a_job_that_will_not_do_the_work(desk: Desk, holder: str, unique: Unique, meeting: str) -> None:
    await HOLDERS[holder](desk)
    (answer,) = await desk.publish("q.2", unique=unique)
    if meeting == "exists":
        assert answer == Exists("q.1", "unique")
        assert await desk.state("q.2") == "unknown"
    elif meeting == "takes":
        assert answer == ACCEPTED
        assert [await desk.state("q.1"), await desk.state("q.2")] == ["expired", "ready"]
        assert (await desk.record("q.1")).reason == "expired"
    else:
        assert answer == ACCEPTED
        record = await desk.record("q.2")
        assert (record.state, record.reason, record.unique) == ("waiting", "waits for q.1", "k")
        stats = await desk.stats()
        assert (stats.depth, stats.successors, stats.ready) == (2, 1, 0)
        assert await desk.store.count(Query(states=("waiting",), reason="waits for q.1")) == {"waiting": 1}


async def test_a_prune_ends_a_successor_that_is_too_late(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW, expires=5)
    desk.clock.advance(6)
    assert (await desk.do(Prune())).ok
    assert await desk.state("q.2") == "expired"
    assert (await desk.stats()).successors == 0


async def finishes(desk: Desk) -> None:
    assert await desk.finish("q.1") == []


async def has_a_result(desk: Desk) -> None:
    assert await desk.settle(Finish(desk.fence("q.1"), "succeeded", result=raw(1), result_ttl=9)) == []


async def dies(desk: Desk) -> None:
    assert await desk.finish("q.1", state="dead") == []


async def ends_late(desk: Desk) -> None:
    assert await desk.finish("q.1", state="expired") == []


async def retries(desk: Desk) -> None:
    assert await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 2, failure())) == []


async def retries_at_once(desk: Desk) -> None:
    assert await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2, failure())) == []


async def snoozes(desk: Desk) -> None:
    assert await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 1)) == []


async def is_released(desk: Desk) -> None:
    assert await desk.settle(Release(desk.fence("q.1"))) == []


async def is_parked(desk: Desk) -> None:
    assert await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 5)) == []


async def is_forfeited(desk: Desk) -> None:
    assert await desk.store.forfeit(A, crashed=True) == 1


async def lapses(desk: Desk) -> None:
    desk.clock.advance(LEASE + 1)
    assert await desk.claim(demand={}, holder=C) == []


async def is_purged(desk: Desk) -> None:
    assert (await desk.do(Purge(id="q.1"))).ok


async def is_cancelled_and_ends(desk: Desk) -> None:
    assert (await desk.do(Cancel("q.1"))).ok
    assert await desk.settle(Release(desk.fence("q.1"))) == []


ENDS: Final[list[tuple[Callable[[Desk], Awaitable[None]], str, str | None]]] = [
    (finishes, "succeeded", None),
    (has_a_result, "succeeded", None),
    (dies, "dead", "test"),
    (ends_late, "expired", "test"),
    (retries, "cancelled", "replaced"),
    (retries_at_once, "cancelled", "replaced"),
    (snoozes, "cancelled", "replaced"),
    (is_released, "cancelled", "replaced"),
    (is_parked, "cancelled", "replaced"),
    (is_forfeited, "cancelled", "replaced"),
    (lapses, "cancelled", "replaced"),
    (is_purged, "unknown", None),
    (is_cancelled_and_ends, "cancelled", "cancelled"),
]


@pytest.mark.parametrize(
    "unique", [NEW, Unique("k", "start", replace=True), FOR_A_MINUTE], ids=["end", "start", "time"]
)
@pytest.mark.parametrize("ends", ENDS, ids=lambda each: each[0].__name__)
async def test_it_takes_the_key_when_the_holder_is_out_of_the_way(
    desk: Desk, ends: tuple[Callable[[Desk], Awaitable[None]], str, str | None], unique: Unique
) -> None:
    end, state, reason = ends
    await runs(desk, PLAIN if unique.seconds is None else unique)
    assert await desk.publish("q.2", unique=unique) == [ACCEPTED]
    assert await desk.ids(holder=B) == []
    await end(desk)
    (record,) = await desk.store.get(["q.1"])
    assert ("unknown", None) if record is None else (record.state, record.reason) == (state, reason)
    record = await desk.record("q.2")
    assert (record.state, record.reason) == ("ready", None)
    assert (await desk.stats()).successors == 0
    assert (await desk.stats()).depth == 1
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    given = await desk.claim(holder=B)
    assert [(each.message.id, each.message.unique, each.attempt) for each in given] == [("q.2", unique, 1)]
    assert await desk.finish("q.2") == []
    desk.clock.advance(0 if unique.seconds is None else 61)
    assert await desk.publish("q.3", unique="k") == [ACCEPTED]
    assert await desk.ids(holder=B) == ["q.3"]


@pytest.mark.parametrize("again", [NEW, PLAIN], ids=["replace", "plain"])
async def test_there_is_one_successor(desk: Desk, again: Unique) -> None:
    await is_cancelled(desk)
    assert await desk.publish("q.2", unique="k") == [ACCEPTED]
    (answer,) = await desk.publish("q.3", unique=again)
    if again.replace:
        assert answer == Accepted("q.2")
        record = await desk.record("q.2")
        assert (record.state, record.reason) == ("cancelled", "replaced")
    else:
        assert answer == Exists("q.2", "unique")
    last = "q.3" if again.replace else "q.2"
    assert (await desk.stats()).depth == 2
    await desk.finish("q.1")
    assert await desk.ids() == [last]
    assert await desk.finish(last) == []
    assert (await desk.stats()).depth == 0


async def test_in_one_batch_the_last_is_the_successor(desk: Desk) -> None:
    await runs(desk)
    answers = await desk.publish("q.2", "q.3", "q.4", unique=NEW)
    assert answers == [ACCEPTED, Accepted("q.2"), Accepted("q.3")]
    assert [await desk.state(id) for id in ("q.2", "q.3", "q.4")] == ["cancelled", "cancelled", "waiting"]


async def test_in_one_plain_batch_the_first_is_the_successor(desk: Desk) -> None:
    await is_cancelled(desk)
    answers = await desk.publish("q.2", "q.3", unique=PLAIN)
    assert answers == [ACCEPTED, Exists("q.2", "unique")]
    assert await desk.publish("q.2", unique="k") == [Exists("q.2", "id")]


async def test_in_one_batch_its_id_is_known(desk: Desk) -> None:
    await is_cancelled(desk)
    assert await desk.publish("q.2", "q.2", "q.1", unique=PLAIN) == [
        ACCEPTED,
        Exists("q.2", "id"),
        Exists("q.1", "id"),
    ]
    assert (await desk.stats()).depth == 2


async def test_each_key_has_its_own_successor(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2", unique="l")
    await desk.publish("r.1", unique="k")
    assert sorted(await desk.ids("q", "r")) == ["q.1", "q.2", "r.1"]
    await desk.publish("q.3", unique=NEW)
    await desk.publish("q.4", unique=Unique("l", replace=True))
    await desk.publish("r.2", unique=NEW)
    assert (await desk.stats()).successors == 2
    await desk.finish("q.2")
    assert await desk.ids("q", "r") == ["q.4"]
    await desk.finish("q.1", "r.1")
    assert sorted(await desk.ids("q", "r")) == ["q.3", "r.2"]


async def test_a_chain_runs_one_after_the_other(desk: Desk) -> None:
    await runs(desk)
    for n in range(2, 6):
        assert await desk.publish(f"q.{n}", unique=NEW) == [ACCEPTED]
        assert await desk.claim() == []
        await desk.finish(f"q.{n - 1}")
        assert await desk.ids() == [f"q.{n}"]


async def test_until_start_needs_no_successor(desk: Desk) -> None:
    once = Unique("k", until="start", replace=True)
    await desk.publish("q.1", unique=once)
    await desk.claim()
    assert await desk.publish("q.2", unique=once) == [ACCEPTED]
    assert await desk.state("q.2") == "ready"


async def test_its_delay_holds_beside_the_holder_and_after(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW, delay=8)
    assert await desk.state("q.2") == "waiting"
    await desk.finish("q.1")
    record = await desk.record("q.2")
    assert (record.state, record.run_at) == ("scheduled", desk.clock.time() + 8)
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    desk.clock.advance(9)
    assert await desk.ids() == ["q.2"]


async def test_a_delay_that_passes_beside_the_holder_is_over(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim(lease=100)
    await desk.publish("q.2", unique=NEW, delay=8)
    desk.clock.advance(9)
    assert await desk.claim() == []
    await desk.finish("q.1")
    assert await desk.ids() == ["q.2"]


async def test_one_that_is_too_late_ends_and_the_holder_keeps_its_retry(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim(lease=100)
    await desk.publish("q.2", unique=NEW, expires=5)
    desk.clock.advance(6)
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2, failure()))
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["ready", "expired"]
    assert await desk.ids() == ["q.1"]


async def test_one_that_is_too_late_makes_way(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim(lease=100)
    await desk.do(Cancel("q.1"))
    await desk.publish("q.2", unique="k", expires=5)
    desk.clock.advance(6)
    assert await desk.publish("q.3", unique="k") == [ACCEPTED]
    assert [await desk.state("q.2"), await desk.state("q.3")] == ["expired", "waiting"]


async def test_a_key_for_a_time_is_taken_when_it_lapses(desk: Desk) -> None:
    await desk.publish("q.1", unique=FOR_A_MINUTE)
    await desk.claim(holder=A, lease=1000)
    desk.clock.advance(50)
    assert await desk.publish("q.2", unique=FOR_A_MINUTE) == [ACCEPTED]
    desk.clock.advance(9)
    assert await desk.claim(holder=B) == []
    desk.clock.advance(2)
    assert await desk.ids(holder=B) == ["q.2"]
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    await desk.finish("q.1")
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    desk.clock.advance(50)
    assert await desk.publish("q.3", unique="k") == [ACCEPTED]


async def test_a_new_one_meets_the_successor_of_a_lapsed_key(desk: Desk) -> None:
    await desk.publish("q.1", unique=FOR_A_MINUTE)
    await desk.claim(holder=A, lease=1000)
    await desk.publish("q.2", unique=FOR_A_MINUTE)
    desk.clock.advance(61)
    await desk.publish("q.3", unique=NEW)
    assert [await desk.state(f"q.{n}") for n in (1, 2, 3)] == ["running", "ready", "ready"]  # q.2's time was over too


async def test_a_lapsed_holder_that_comes_back_first_keeps_the_key(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    desk.clock.advance(LEASE + 1)
    assert await desk.extend(A) == []
    assert await desk.state("q.2") == "waiting"
    assert await desk.claim(holder=B) == []
    assert await desk.finish("q.1") == []
    assert await desk.ids(holder=B) == ["q.2"]


async def test_a_holder_that_was_superseded_reports_in_vain(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    await lapses(desk)
    assert [each.why for each in await desk.finish("q.1")] == ["superseded"]
    assert await desk.ids(holder=B) == ["q.2"]


async def test_a_move_that_ends_the_holder_lets_it_run(desk: Desk) -> None:
    await is_held(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.do(Moved("q.1"))
    assert (await desk.record("q.1")).reason == "moved"
    assert await desk.ids() == ["q.2"]


async def test_a_holder_that_comes_back_from_a_move_is_replaced(desk: Desk) -> None:
    await is_held(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.do(Unhold("q.1"))
    assert (await desk.record("q.1")).reason == "replaced"
    assert await desk.ids() == ["q.2"]


async def test_what_commands_do_to_a_successor(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW, args={"n": 1})
    for command in (RunNow("q.2"), Hold("q.2", "a move"), Unhold("q.2"), Moved("q.2")):
        assert await desk.do(command) == Answer(False, why="successor")
    assert await desk.do(Redrive("q.2")) == Answer(False, why="not-ended")
    at = desk.clock.time() + 7
    assert (await desk.do(Edit("q.2", raw({"n": 2}), "high", at))).ok
    record = await desk.record("q.2")
    assert (record.state, record.args, record.priority, record.run_at) == ("waiting", {"n": 2}, "high", at)
    await desk.finish("q.1")
    assert await desk.state("q.2") == "scheduled"
    desk.clock.advance(8)
    assert [each.message.args for each in await desk.claim()] == [raw({"n": 2})]


@pytest.mark.parametrize("removal", [Cancel("q.2"), Purge(id="q.2"), Purge(key="ann"), Purge(queue="q", key="ann")])
async def test_a_successor_that_goes_leaves_the_key_to_its_holder(desk: Desk, removal: Any) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW, key="ann")
    assert (await desk.do(removal)).changed == 1
    stats = await desk.stats()
    assert (stats.depth, stats.successors) == (1, 0)
    assert await desk.publish("q.3", unique="k") == [Exists("q.1", "unique")]
    assert await desk.publish("q.3", unique=NEW) == [ACCEPTED]
    await desk.finish("q.1")
    assert await desk.ids() == ["q.3"]


async def test_a_purge_of_the_queue_takes_it_along(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.do(Purge(queue="q"))
    assert await desk.state("q.2") == "unknown"
    await desk.finish("q.1")
    assert (await desk.stats()).depth == 0
    assert await desk.publish("q.3", unique="k") == [ACCEPTED]
    assert await desk.state("q.3") == "ready"


async def test_a_dead_holder_is_not_redriven_past_its_successor(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.finish("q.1", state="dead")
    assert await desk.do(Redrive("q.1")) == Answer(False, why="conflict")
    await desk.claim()
    await desk.finish("q.2")
    assert (await desk.do(Redrive("q.1"))).ok


async def test_a_cancelled_successor_may_be_redriven(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.do(Cancel("q.2"))
    assert await desk.do(Redrive("q.2")) == Answer(False, why="conflict")
    await desk.finish("q.1")
    assert (await desk.do(Redrive("q.2"))).ok
    assert await desk.ids() == ["q.2"]


@pytest.mark.parametrize(
    "bounds", [{"max_depth": 2}, {"max_bytes": 4}, {"per_key": Limit(max_depth=2)}, {"per_key": Limit(max_bytes=4)}]
)
async def test_it_counts_in_full_and_hands_its_room_on(desk: Desk, bounds: dict[str, Any]) -> None:
    await desk.declare("q", **bounds)
    await desk.publish("q.1", unique="k", key="a")
    await desk.claim()
    assert await desk.publish("q.2", unique=NEW, key="a") == [ACCEPTED]
    (full,) = await desk.publish("q.3", key="a")
    assert isinstance(full, Full)
    assert await desk.publish("q.4", unique=NEW, key="a") == [Accepted("q.2")]
    await desk.finish("q.1")
    assert await desk.publish("q.5", key="a") == [ACCEPTED]
    assert (await desk.stats()).depth == 2


async def test_a_full_queue_refuses_it(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await runs(desk)
    (full,) = await desk.publish("q.2", unique=NEW)
    assert isinstance(full, Full)
    assert await desk.state("q.2") == "unknown"


async def test_it_is_not_shed_and_sheds_others(desk: Desk) -> None:
    await desk.declare("q", max_depth=3, on_full="shed")
    await runs(desk)
    await desk.publish("q.2")
    await desk.publish("q.3")
    assert await desk.publish("q.4", unique=NEW) == [Accepted(None, ("q.2",))]
    assert await desk.publish("q.5") == [Accepted(None, ("q.3",))]
    assert await desk.publish("q.6") == [Accepted(None, ("q.5",))]
    assert await desk.state("q.4") == "waiting"


async def test_a_key_of_fairness_takes_its_turn(desk: Desk) -> None:
    await desk.declare("q", per_key=Limit(concurrency=1))
    await desk.publish("q.1", unique="k", key="ann")
    await desk.claim()
    await desk.publish("q.2", unique=NEW, key="ann")
    await desk.publish("q.3", key="bob")
    assert await desk.ids() == ["q.3"]
    await desk.publish("q.4", "q.5", key="bob")
    await desk.finish("q.1", "q.3")
    assert sorted(await desk.ids()) == ["q.2", "q.4"]


async def test_its_order_is_that_of_its_acceptance(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.publish("q.3")
    await desk.finish("q.1")
    assert await desk.ids() == ["q.2", "q.3"]


async def test_a_follow_up_may_be_a_successor(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2")
    await desk.claim()
    follow = desk.message("q.3", unique=NEW)
    assert await desk.settle(Finish(desk.fence("q.2"), "succeeded", then=[follow])) == []
    assert await desk.state("q.3") == "waiting"
    await desk.finish("q.1")
    assert await desk.ids() == ["q.3"]


async def test_a_follow_up_of_the_holder_meets_its_successor(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    follow = desk.message("q.3", unique=NEW)
    assert await desk.settle(Finish(desk.fence("q.1"), "succeeded", then=[follow])) == []
    assert [await desk.state("q.2"), await desk.state("q.3")] == ["cancelled", "ready"]
    assert await desk.ids() == ["q.3"]


async def test_a_parked_kind_waits_like_any(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW, kind="unheard")
    await desk.finish("q.1")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.2"), desk.clock.time() + 5))
    assert await desk.publish("q.3", unique=NEW) == [Accepted("q.2")]


async def test_its_record_is_kept_by_retention_like_any(desk: Desk) -> None:
    await desk.declare("q", records=1)
    await runs(desk)
    await desk.publish("q.2", "q.3", "q.4", unique=NEW)
    await desk.do(Prune())
    desk.clock.advance(0.001)
    assert [await desk.state(f"q.{n}") for n in (1, 2, 3, 4)] == ["running", "unknown", "cancelled", "waiting"]
    await desk.settle(Release(desk.fence("q.1")))
    assert [await desk.state(f"q.{n}") for n in (1, 2, 3, 4)] == ["cancelled", "unknown", "unknown", "ready"]


async def test_a_paused_queue_keeps_both(desk: Desk) -> None:
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.do(Pause("q"))
    await desk.finish("q.1")
    assert await desk.claim() == []
    await desk.do(Pause("q", on=False))
    assert await desk.ids() == ["q.2"]


async def test_another_store_object_goes_on(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.publish("q.1", unique="k")
    await one.claim()
    assert await other.publish("q.2", unique=NEW) == [ACCEPTED]
    assert await other.publish("q.3", unique=NEW) == [Accepted("q.2")]
    await one.finish("q.1")
    assert await other.ids() == ["q.3"]


async def test_it_waits_for_as_long_as_a_move_holds_the_holder(desk: Desk) -> None:
    await is_held(desk)
    await desk.publish("q.2", unique=NEW)
    await desk.do(Prune())
    assert await desk.claim() == []
    assert await desk.state("q.2") == "waiting"


async def test_a_holder_that_a_claim_supersedes_is_kept_by_retention_like_any(desk: Desk) -> None:
    await desk.declare("q", records=0)
    await runs(desk)
    await desk.publish("q.2", unique=NEW)
    desk.clock.advance(LEASE + 1)
    assert await desk.ids(holder=B) == ["q.2"]
    assert await desk.state("q.1") == "unknown"


async def test_a_lapsed_key_is_taken_before_plain_jobs_are_handed_out(desk: Desk) -> None:
    await desk.publish("q.1", unique=FOR_A_MINUTE)
    await desk.claim(holder=A, lease=1000)
    await desk.publish("q.2", unique=FOR_A_MINUTE)
    await desk.publish("q.3")
    desk.clock.advance(61)
    assert await desk.ids(holder=B) == ["q.2", "q.3"]


async def test_a_lapsed_key_is_taken_when_plain_jobs_end(desk: Desk) -> None:
    await desk.publish("q.1", unique=FOR_A_MINUTE)
    await desk.publish("q.2")
    await desk.claim(holder=A, lease=1000)
    await desk.publish("q.3", unique=FOR_A_MINUTE)
    desk.clock.advance(61)
    await desk.finish("q.2")
    assert await desk.state("q.3") == "ready"


async def test_a_follow_up_meets_the_successor_of_a_job_that_ended_before_it(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2", "q.3")
    await desk.claim()
    await desk.publish("q.4", unique=NEW)
    await desk.settle(
        Finish(desk.fence("q.2"), "succeeded", then=[desk.message("q.5", unique="l")]),
        Finish(desk.fence("q.1"), "dead", "test"),
        Finish(desk.fence("q.3"), "succeeded", then=[desk.message("q.6", unique="k")]),
    )
    assert [await desk.state(f"q.{n}") for n in (4, 5)] == ["ready", "ready"]
    assert (await desk.record("q.6")).id == "q.4"


async def test_a_job_that_is_too_late_keeps_a_key_for_its_time(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=60), expires=5)
    desk.clock.advance(6)
    assert await desk.publish("q.2", unique=Unique("k", seconds=60)) == [Exists("q.1", "unique")]


async def test_the_record_of_a_late_holder_is_kept_by_retention_like_any(desk: Desk) -> None:
    await desk.declare("q", records=0)
    await is_late(desk)
    await desk.publish("q.2", unique="k")
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["unknown", "ready"]


@pytest.mark.parametrize("wanted", [Purge(key="ann"), Purge(queue="q", key="ann"), Purge(id="q.1")])
async def test_a_purge_of_the_holder_hands_the_key_on_at_once(desk: Desk, wanted: Purge) -> None:
    await desk.publish("q.1", unique="k", key="ann")
    await desk.claim()
    await desk.publish("q.2", unique=NEW, key="bob")
    await desk.do(wanted)
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["unknown", "ready"]


class TestLate:
    """Messages that waited in a spool: what was enqueued after them stays."""

    @staticmethod
    async def late(desk: Desk, *messages: Message) -> list[str]:
        """Publish them; return the ids of the jobs that they led to."""
        answers = await publish_late(Store.of(desk.store, "test:"), messages)
        return [
            answer.id if isinstance(answer, Exists) else each.id for each, answer in zip(messages, answers, strict=True)
        ]

    async def test_it_yields_to_a_newer_job_that_waits(self, desk: Desk) -> None:
        old = desk.message("q.old", unique=NEW)
        desk.clock.advance(1)
        await desk.publish("q.new", unique=NEW)
        assert await self.late(desk, old) == ["q.new"]
        assert [await desk.state("q.old"), await desk.state("q.new")] == ["unknown", "ready"]

    async def test_it_yields_to_a_newer_job_that_runs_and_to_a_newer_successor(self, desk: Desk) -> None:
        older = desk.message("q.older", unique=NEW)
        desk.clock.advance(1)
        await runs(desk)
        old = desk.message("q.old", unique=NEW)
        assert await self.late(desk, older) == ["q.1"]
        desk.clock.advance(1)
        await desk.publish("q.new", unique=NEW)
        assert await self.late(desk, old) == ["q.new"]
        assert [await desk.state(id) for id in ("q.old", "q.older", "q.new")] == ["unknown", "unknown", "waiting"]

    async def test_it_replaces_an_older_job(self, desk: Desk) -> None:
        await desk.publish("q.1", unique=NEW)
        late = [desk.message(id, unique=unique) for id, unique in (("q.2", NEW), ("q.3", PLAIN), ("q.4", None))]
        assert await self.late(desk, *late) == ["q.2", "q.1", "q.4"]
        assert (await desk.record("q.1")).reason == "replaced"
        assert [await desk.state(id) for id in ("q.2", "q.3", "q.4")] == ["ready", "unknown", "ready"]

    async def test_it_follows_an_older_job_that_runs(self, desk: Desk) -> None:
        await runs(desk)
        assert await self.late(desk, desk.message("q.2", unique=NEW)) == ["q.2"]
        assert await desk.state("q.2") == "waiting"

    async def test_the_last_of_one_batch_stays_and_a_repeat_changes_nothing(self, desk: Desk) -> None:
        late = [desk.message(f"q.{n}", unique=NEW) for n in range(3)]
        for _ in range(2):
            assert await self.late(desk, *late) == ["q.0", "q.1", "q.2"]
            assert [await desk.state(each.id) for each in late] == ["cancelled", "cancelled", "ready"]
