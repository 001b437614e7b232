"""Records: get, find, wait, count."""

from __future__ import annotations

import asyncio

import pytest

from outlast.core.settlement import Reschedule
from outlast.core.store.control import Cancel, Purge
from outlast.core.store.records import JobRecord, Query
from tests.support.jobs import A, B, Desk, raw


def ids(records: list[JobRecord | None] | list[JobRecord]) -> list[str | None]:
    return [None if record is None else record.id for record in records]


async def test_get_aligns_with_the_ids(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    assert ids(await desk.store.get(["q.2", "q.none", "q.1", "q.2"])) == ["q.2", None, "q.1", "q.2"]
    assert await desk.store.get([]) == []


async def test_a_record_shows_the_whole_job(desk: Desk) -> None:
    now = desk.clock.time()
    await desk.publish("q.1", delay=1, kind="render", args={"n": 1}, priority="high", key="t", unique="u", expires=60)
    assert await desk.record("q.1") == JobRecord(
        id="q.1",
        queue="q",
        kind="render",
        state="scheduled",
        args={"n": 1},
        priority="high",
        key="t",
        unique="u",
        enqueued_at=now,
        run_at=now + 1,
        expires_at=now + 60,
    )


async def test_redacted_arguments_are_not_shown(desk: Desk) -> None:
    await desk.publish("q.1", args={"card": "4111", "n": 1}, redacted=("card",))
    shown = await desk.record("q.1")
    assert shown.args["n"] == 1
    assert "4111" not in str(shown)
    assert "4111" not in str(await desk.store.find(Query()))
    (delivery,) = await desk.claim()
    assert b"4111" in bytes(delivery.message.args)


async def test_reads_compute_expired(desk: Desk) -> None:
    await desk.publish("q.1", expires=5)
    desk.clock.advance(6)
    record = await desk.record("q.1")
    assert (record.state, record.reason) == ("expired", "expired")
    assert ids((await desk.store.find(Query(states=("expired",)))).records) == ["q.1"]
    assert ids((await desk.store.find(Query(states=("ready", "scheduled")))).records) == []
    assert await desk.store.count(Query()) == {"expired": 1}
    assert ids(await desk.store.wait(["q.1"], 60)) == ["q.1"]


async def test_a_scheduled_job_may_expire_before_it_is_due(desk: Desk) -> None:
    await desk.publish("q.1", delay=100, expires=5)
    desk.clock.advance(6)
    assert await desk.state("q.1") == "expired"


async def test_a_job_that_has_started_once_does_not_expire(desk: Desk) -> None:
    await desk.publish("q.run", "q.retried", "q.lapsed", expires=5)
    await desk.claim(holder=A)
    await desk.settle(Reschedule(desk.fence("q.retried"), desk.clock.time(), 2))
    await desk.lapse()
    assert [await desk.state("q.retried"), await desk.state("q.lapsed")] == ["ready", "ready"]


@pytest.mark.across_queues
async def test_find_gives_the_newest_acceptance_first(desk: Desk) -> None:
    await desk.publish("q.b", "r.a", "q.c")
    page = await desk.store.find(Query())
    assert (ids(page.records), page.cursor) == (["q.c", "r.a", "q.b"], None)


async def test_find_pages_without_gap_or_repeat(desk: Desk) -> None:
    await desk.publish(*(f"q.{n}" for n in range(7)))
    seen: list[str | None] = []
    cursor: str | None = None
    sizes = []
    while True:
        page = await desk.store.find(Query(limit=3, cursor=cursor))
        seen += ids(page.records)
        sizes.append(len(page.records))
        await desk.publish(f"q.new{len(sizes)}")
        cursor = page.cursor
        if cursor is None:
            break
    assert (seen, sizes) == ([f"q.{n}" for n in range(6, -1, -1)], [3, 3, 1])


async def test_a_page_that_ends_exactly_has_no_cursor(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    assert (await desk.store.find(Query(limit=2))).cursor is None


async def test_paging_goes_on_when_the_cursors_job_is_gone(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    page = await desk.store.find(Query(limit=2))
    await desk.do(Purge(id="q.2"))
    assert ids((await desk.store.find(Query(limit=2, cursor=page.cursor))).records) == ["q.1"]


async def test_all_given_fields_must_match(desk: Desk) -> None:
    await desk.publish("q.1", kind="send", key="x")
    await desk.publish("q.2", kind="send", key="y")
    await desk.publish("q.3", kind="render", key="x")
    await desk.publish("r.1", kind="send", key="x", delay=10)

    async def found(query: Query) -> list[str]:
        return sorted(each.id for each in (await desk.store.find(query)).records)

    assert await found(Query(queue="q")) == ["q.1", "q.2", "q.3"]
    assert await found(Query(kind="send")) == ["q.1", "q.2", "r.1"]
    await desk.publish("q.4", kind="send@2")
    await desk.publish("q.5", kind="sender@2")
    assert await found(Query(kind="send")) == ["q.1", "q.2", "q.4", "r.1"]
    assert await found(Query(kind="send@2")) == ["q.4"]
    assert await found(Query(kind="send@3")) == []
    await desk.apply(Purge("q.4"), Purge("q.5"))
    assert await found(Query(key="x")) == ["q.1", "q.3", "r.1"]
    assert await found(Query(states=("scheduled",))) == ["r.1"]
    assert await found(Query(states=("scheduled", "ready"), queue="q", key="x", kind="send")) == ["q.1"]
    assert await found(Query(states=("ready", "ready"), key="y")) == ["q.2"]
    assert await found(Query(queue="nowhere")) == []
    assert await desk.store.count(Query(key="x")) == {"ready": 2, "scheduled": 1}
    assert await desk.store.count(Query(kind="none")) == {}


async def test_count_does_not_look_at_limit_and_cursor(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    cursor = (await desk.store.find(Query(limit=2))).cursor
    assert await desk.store.count(Query(limit=1, cursor=cursor)) == {"ready": 3}


async def test_find_and_count_see_every_state(desk: Desk) -> None:
    for state in ("succeeded", "dead", "cancelled", "expired"):
        await desk.run(f"q.{state}", state=state)
    await desk.publish("q.running")
    await desk.claim()
    await desk.publish("q.ready")
    await desk.publish("q.scheduled", delay=10)
    every = await desk.store.count(Query(queue="q"))
    assert every == dict.fromkeys(("succeeded", "dead", "cancelled", "expired", "running", "ready", "scheduled"), 1)
    for state in every:
        assert ids((await desk.store.find(Query(states=(state,)))).records) == [f"q.{state}"]


async def test_looking_changes_nothing(desk: Desk) -> None:
    await desk.publish("q.1")
    before = await desk.record("q.1")
    await desk.store.find(Query())
    await desk.store.count(Query())
    await desk.store.wait(["q.1"], 0)
    assert await desk.record("q.1") == before
    assert await desk.ids() == ["q.1"]


async def test_wait_returns_ended_and_unknown_at_once(desk: Desk) -> None:
    await desk.run("q.1", result=raw(5))
    records = await desk.store.wait(["q.none", "q.1"], 60)
    assert ids(records) == [None, "q.1"]
    assert records[1] is not None
    assert records[1].result == 5


@pytest.mark.needs("records")
async def test_wait_of_nothing_is_over(desk: Desk) -> None:
    assert await desk.store.wait([], 60) == []


async def test_wait_returns_the_records_as_they_are_after_its_time(desk: Desk) -> None:
    await desk.publish("q.1")
    (record,) = await desk.store.wait(["q.1"], 0.02)
    assert record is not None
    assert record.state == "ready"


async def test_wait_returns_when_the_last_has_ended(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim()
    waiting = asyncio.create_task(desk.store.wait(["q.1", "q.2"], 60))
    await desk.finish("q.1")
    (state,) = [each.state for each in await desk.store.get(["q.2"]) if each is not None]
    assert (state, waiting.done()) == ("running", False)
    await desk.finish("q.2", result=raw("done"))
    records = await waiting
    assert [each.state for each in records if each is not None] == ["succeeded", "succeeded"]


async def test_wait_returns_when_a_job_is_cancelled_or_purged(desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    waiting = asyncio.create_task(desk.store.wait(["q.1", "q.2"], 60))
    await desk.apply(Cancel("q.1"), Purge(id="q.2"))
    one, two = await waiting
    assert one is not None
    assert (one.state, two) == ("cancelled", None)


async def test_wait_returns_when_a_job_expires(desk: Desk) -> None:
    await desk.publish("q.1", expires=5)
    waiting = asyncio.create_task(desk.store.wait(["q.1"], 60))
    await asyncio.sleep(0)
    desk.clock.advance(6)
    (record,) = await waiting
    assert record is not None
    assert record.state == "expired"


async def test_a_result_past_its_time_is_not_shown(desk: Desk) -> None:
    await desk.run("q.1", result=raw(5), result_ttl=10.0)
    desk.clock.advance(11)
    (record,) = await desk.store.get(["q.1"])
    assert record is None or record.result is None


async def test_a_running_record_names_its_holder(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=B)
    record = await desk.record("q.1")
    assert (record.state, record.holder, record.cancelling) == ("running", B.id, False)
    await desk.do(Cancel("q.1"))
    assert (await desk.record("q.1")).cancelling
