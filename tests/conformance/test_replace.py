"""Unique keys that change hands: a message with `replace` takes the place of the job that waits with its key."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from outlast.core.limits import Limit
from outlast.core.moving import Adopt, Hold
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Finish, Full, Park, Reschedule, TooLarge
from outlast.core.store.control import Answer, Cancel, Purge, Redrive
from outlast.core.unique import Unique
from tests.support.jobs import A, B, Desk

NEW = Unique("k", replace=True)
FOR_A_MINUTE = Unique("k", seconds=60, replace=True)


async def test_a_free_key_is_taken_as_any(desk: Desk) -> None:
    assert await desk.publish("q.1", unique=NEW) == [ACCEPTED]
    assert (await desk.record("q.1")).unique == "k"
    assert (await desk.claim())[0].message.unique == NEW


@pytest.mark.parametrize("waits", ["ready", "scheduled", "parked", "retried", "lapsed"])
async def test_a_job_that_waits_is_replaced(desk: Desk, waits: str) -> None:
    await desk.publish("q.1", unique="k", delay=100 if waits == "scheduled" else 0)
    if waits in ("parked", "retried", "lapsed"):
        await desk.claim(holder=A)
        later = desk.clock.time() + 100
        if waits == "lapsed":
            await desk.lapse()
        else:
            fence = desk.fence("q.1")
            await desk.settle(Park(fence, later) if waits == "parked" else Reschedule(fence, later, 2))
    assert await desk.publish("q.2", unique=NEW) == [Accepted("q.1")]
    record = await desk.record("q.1")
    assert (record.state, record.reason, record.finished_at) == ("cancelled", "replaced", desk.clock.time())
    assert (await desk.stats()).depth == 1
    assert await desk.ids(holder=B) == ["q.2"]
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]


async def test_a_job_that_runs_is_not_replaced(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    assert await desk.publish("q.2", unique=NEW) == [ACCEPTED]
    assert await desk.state("q.2") == "waiting"
    assert await desk.finish("q.1") == []
    assert await desk.state("q.1") == "succeeded"


async def test_a_job_that_is_set_aside_is_not_replaced(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.do(Hold("q.1", "a move"))
    assert await desk.publish("q.2", unique=NEW) == [ACCEPTED]
    assert (await desk.record("q.1")).reason == "a move"


async def test_one_that_is_adopted_replaces_nobody(desk: Desk) -> None:
    await desk.publish("q.1", unique=NEW)
    parcel = (await desk.do(Hold("q.1", "a move"))).parcel
    assert parcel is not None
    await desk.do(Purge(id="q.1"))
    await desk.publish("q.2", unique="k")
    moved = structs.replace(parcel, message=structs.replace(parcel.message, id="q.3"))
    assert await desk.do(Adopt(moved, "a move")) == Answer(False, why="conflict")
    assert await desk.state("q.2") == "ready"


async def test_a_key_for_a_time_is_taken_over_while_its_job_waits(desk: Desk) -> None:
    await desk.publish("q.1", unique=FOR_A_MINUTE)
    desk.clock.advance(50)
    assert await desk.publish("q.2", unique=FOR_A_MINUTE) == [Accepted("q.1")]
    desk.clock.advance(50)
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    desk.clock.advance(11)
    assert await desk.publish("q.3", unique="k") == [ACCEPTED]


async def test_a_key_that_outlives_its_job_is_not_taken_over(desk: Desk) -> None:
    await desk.publish("q.1", unique=FOR_A_MINUTE)
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.publish("q.2", unique=FOR_A_MINUTE) == [Exists("q.1", "unique")]
    desk.clock.advance(61)
    assert await desk.publish("q.2", unique=FOR_A_MINUTE) == [ACCEPTED]


async def test_a_key_of_another_queue_is_not_touched(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    assert await desk.publish("r.1", unique=NEW) == [ACCEPTED]
    assert await desk.state("q.1") == "ready"


async def test_in_one_batch_the_last_wins(desk: Desk) -> None:
    answers = await desk.publish("q.1", "q.2", "q.3", unique=NEW)
    assert answers == [ACCEPTED, Accepted("q.1"), Accepted("q.2")]
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["cancelled", "cancelled", "ready"]
    assert (await desk.stats()).depth == 1


async def test_in_one_batch_each_keeps_its_place(desk: Desk) -> None:
    """A batch that holds a replacing message is served in its order all the same."""
    messages = [desk.message("q.1"), desk.message("q.2", unique=NEW), desk.message("q.3", key="a"), desk.message("q.4")]
    assert await desk.store.publish(messages) == [ACCEPTED] * 4
    assert sorted(await desk.ids()) == ["q.1", "q.2", "q.3", "q.4"]


async def test_a_known_id_is_known_and_replaces_nobody(desk: Desk) -> None:
    await desk.publish("q.1", unique=NEW)
    assert await desk.publish("q.1", unique=NEW) == [Exists("q.1", "id")]
    await desk.publish("q.2", unique="l")
    assert await desk.publish("q.2", unique=NEW) == [Exists("q.2", "id")]
    assert await desk.publish("q.3", unique=NEW) == [Accepted("q.1")]
    assert await desk.publish("q.1", unique=NEW) == [Exists("q.1", "id")]
    assert await desk.state("q.3") == "ready"


async def test_one_that_is_too_large_replaces_nobody(desk: Desk) -> None:
    await desk.declare("q", max_bytes=20)
    await desk.publish("q.1", unique="k")
    assert await desk.publish("q.2", unique=NEW, args={"n": "x" * 30}) == [TooLarge(38, 20, "max_bytes")]
    assert await desk.state("q.1") == "ready"


@pytest.mark.parametrize(
    "bounds", [{"max_depth": 1}, {"max_bytes": 2}, {"per_key": Limit(max_depth=1)}, {"per_key": Limit(max_bytes=2)}]
)
async def test_the_place_in_a_full_queue_is_handed_on(desk: Desk, bounds: dict[str, Any]) -> None:
    await desk.declare("q", **bounds)
    await desk.publish("q.1", unique="k", key="a")
    assert await desk.publish("q.2", unique=NEW, key="a") == [Accepted("q.1")]
    assert await desk.publish("q.3", key="a") != [ACCEPTED]
    assert (await desk.stats()).depth == 1


@pytest.mark.parametrize("per_key", [True, False])
async def test_the_place_is_one_place(desk: Desk, per_key: bool) -> None:
    await desk.publish("q.1", unique="k", key="a")
    await desk.publish("q.2", "q.3", key="a")
    await desk.declare("q", **({"per_key": Limit(max_depth=2)} if per_key else {"max_depth": 2}))
    (answer,) = await desk.publish("q.4", unique=NEW, key="a")
    assert isinstance(answer, Full)
    assert answer.bound == ("per_key.max_depth" if per_key else "max_depth")


async def test_what_does_not_fit_replaces_nobody(desk: Desk) -> None:
    await desk.declare("q", max_bytes=20)
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2", args={"n": "x" * 6})
    assert await desk.publish("q.3", unique=NEW, args={"n": "x" * 9}) == [Full(60.0, "max_bytes")]
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["ready", "ready", "unknown"]
    assert await desk.publish("q.4", unique="k") == [Exists("q.1", "unique")]


async def test_the_bound_of_another_key_holds_for_who_takes_over(desk: Desk) -> None:
    await desk.declare("q", per_key=Limit(max_depth=1))
    await desk.publish("q.1", unique="k", key="a")
    await desk.publish("q.2", key="b")
    assert await desk.publish("q.3", unique=NEW, key="b") == [Full(60.0, "per_key.max_depth")]
    assert await desk.state("q.1") == "ready"


async def test_the_replaced_is_not_shed_as_well(desk: Desk) -> None:
    await desk.declare("q", max_depth=2, on_full="shed")
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2")
    assert await desk.publish("q.3", unique=NEW) == [Accepted("q.1")]
    assert (await desk.stats()).shed == 0


async def test_the_replaced_may_be_replaced_and_another_shed(desk: Desk) -> None:
    await desk.declare("q", max_bytes=30, on_full="shed")
    await desk.publish("q.1", unique="k")
    await desk.publish("q.2", args={"n": "x" * 12})
    await desk.publish("q.3")
    answers = await desk.publish("q.4", unique=NEW, args={"n": "x" * 12})
    assert answers == [Accepted("q.1", ("q.2",))]
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3", "q.4")] == ["cancelled", "expired", "ready", "ready"]


async def test_a_follow_up_replaces_too(desk: Desk) -> None:
    await desk.publish("q.1", unique="k", delay=50)
    await desk.publish("q.2")
    await desk.claim()
    follow = desk.message("q.3", unique=NEW)
    assert await desk.settle(Finish(desk.fence("q.2"), "succeeded", then=[follow])) == []
    assert [await desk.state(id) for id in ("q.1", "q.3")] == ["cancelled", "ready"]


async def test_a_replaced_job_reports_in_vain(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim(holder=A)
    await desk.lapse()
    await desk.publish("q.2", unique=NEW)
    lost = await desk.finish("q.1")
    assert [each.why for each in lost] == ["superseded"]
    assert await desk.state("q.1") == "cancelled"


async def test_a_replaced_job_may_be_redriven_once_the_key_is_free(desk: Desk) -> None:
    await desk.publish("q.1", unique=NEW)
    await desk.publish("q.2", unique=NEW)
    assert await desk.do(Redrive("q.1")) == Answer(False, why="conflict")
    await desk.do(Cancel("q.2"))
    assert (await desk.do(Redrive("q.1"))).ok
    assert await desk.publish("q.3", unique="k") == [Exists("q.1", "unique")]


async def test_the_end_of_a_replaced_job_leaves_a_record_that_retention_removes(desk: Desk) -> None:
    await desk.declare("q", records=1)
    await desk.publish("q.1", "q.2", "q.3", unique=NEW)
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["unknown", "cancelled", "ready"]
    assert await desk.publish("q.1", unique="l") == [Exists("q.1", "id")]


async def test_replacing_is_not_draining(desk: Desk) -> None:
    await desk.publish(*(f"q.{n}" for n in range(10)), unique=NEW)
    assert (await desk.stats()).drain_rate == 0.0
