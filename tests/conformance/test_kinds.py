"""An answer that a job exists names the kind of that job, so that no kind is taken for another."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.moving import Adopt, Parcel
from outlast.core.settlement import ACCEPTED, Accepted, Exists
from outlast.core.store.control import Purge
from outlast.core.unique import Unique
from tests.support.jobs import Desk


async def answers(desk: Desk, *ids: str, **options: Any) -> Any:
    return await desk.store.publish([desk.message(id, **options) for id in ids])


async def test_the_kind_that_has_the_id(desk: Desk) -> None:
    await desk.publish("q.1", kind="receipt")
    assert await answers(desk, "q.1", kind="invoice") == [Exists("q.1", "id", "receipt")]
    assert await answers(desk, "q.1", kind="invoice", key="k") == [Exists("q.1", "id", "receipt")]
    assert await answers(desk, "q.2", "q.1", "q.2", kind="invoice@2") == [
        ACCEPTED,
        Exists("q.1", "id", "receipt"),
        Exists("q.2", "id", "invoice@2"),
    ]


async def test_the_kind_that_has_the_id_and_expires(desk: Desk) -> None:
    await desk.publish("q.1", kind="receipt", expires=60)
    assert await answers(desk, "q.1", "q.1", kind="invoice") == [Exists("q.1", "id", "receipt")] * 2


async def test_the_kind_that_has_the_id_and_ran(desk: Desk) -> None:
    await desk.publish("q.1", kind="receipt")
    await desk.claim()
    assert await answers(desk, "q.1", kind="invoice") == [Exists("q.1", "id", "receipt")]
    await desk.finish("q.1")
    assert await answers(desk, "q.1", kind="invoice") == [Exists("q.1", "id", "receipt")]


async def test_the_kind_that_had_the_id_of_a_removed_record(desk: Desk) -> None:
    await desk.declare("q", records=0)
    await desk.publish("q.1", "q.2", kind="receipt")
    await desk.claim(limit=1)
    await desk.finish("q.1")
    await desk.do(Purge(id="q.2"))
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["unknown", "unknown"]
    for options in ({}, {"key": "k"}):
        assert await answers(desk, "q.1", kind="invoice", **options) == [Exists("q.1", "id", "receipt")]
        assert await answers(desk, "q.2", "q.1", kind="invoice", **options) == [
            Exists("q.2", "id", "receipt"),
            Exists("q.1", "id", "receipt"),
        ]


@pytest.mark.parametrize("length", [31, 33])
@pytest.mark.parametrize("purged", [False, True])
async def test_the_kind_that_had_an_id_as_long_as_a_generated_one_almost(desk: Desk, length: int, purged: bool) -> None:
    id = f"q.{'x' * length}"
    await desk.declare("q", records=0)
    await desk.publish(id, kind="receipt")
    if purged:
        await desk.do(Purge(id=id))
    else:
        await desk.claim()
        await desk.finish(id)
    assert await answers(desk, id, kind="invoice") == [Exists(id, "id", "receipt")]


async def test_the_kind_that_holds_the_unique_key(desk: Desk) -> None:
    await desk.publish("q.1", kind="receipt", unique="k")
    assert await answers(desk, "q.2", kind="invoice", unique="k") == [Exists("q.1", "unique", "receipt")]
    await desk.claim()
    assert await answers(desk, "q.2", kind="invoice", unique="k") == [Exists("q.1", "unique", "receipt")]


async def test_a_job_of_another_kind_may_succeed_the_one_that_holds_the_key(desk: Desk) -> None:
    await desk.publish("q.1", kind="receipt", unique="k")
    await desk.claim()
    assert await answers(desk, "q.2", "q.3", kind="invoice", unique=Unique("k", replace=True)) == [
        ACCEPTED,
        Accepted(replaced="q.2"),
    ]
    assert await answers(desk, "q.4", kind="receipt", unique="k") == [Exists("q.3", "unique", "invoice")]


async def test_the_kind_that_held_a_timed_key_and_whose_record_was_removed(desk: Desk) -> None:
    await desk.declare("q", records=0)
    timed = Unique("k", seconds=60)
    await desk.publish("q.1", kind="receipt", unique=timed)
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.state("q.1") == "unknown"
    assert await answers(desk, "q.2", kind="invoice", unique=timed) == [Exists("q.1", "unique", "receipt")]


async def test_a_job_that_moves_is_not_taken_for_one_of_another_kind(desk: Desk) -> None:
    await desk.publish("q.1", kind="receipt")
    parcel = Parcel(message=desk.message("q.1", kind="invoice"), at=desk.clock.time(), rank=0)
    answer = await desk.do(Adopt(parcel, "move"))
    assert (answer.ok, answer.why) == (False, "conflict")
    parcel = Parcel(message=desk.message("q.1", kind="receipt"), at=desk.clock.time(), rank=0)
    answer = await desk.do(Adopt(parcel, "move"))
    assert (answer.ok, answer.changed) == (True, 0)
