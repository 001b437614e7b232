"""publish: what is kept, what stands already, what is too large."""

from __future__ import annotations

import asyncio
from pathlib import Path

from outlast.core.settlement import ACCEPTED, Exists, TooLarge
from outlast.core.store.control import Prune
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, Desk, message, raw
from tests.support.stores import StoreCase


async def test_answers_align_with_the_input(desk: Desk) -> None:
    assert await desk.publish("q.1", "q.2", "q.1") == [ACCEPTED, ACCEPTED, Exists("q.1", "id")]


async def test_nothing_published_is_nothing_answered(desk: Desk) -> None:
    assert await desk.store.publish([]) == []


async def test_a_known_id_is_the_same_job_whatever_else_it_says(desk: Desk) -> None:
    await desk.publish("q.1", args={"n": 1})
    assert await desk.publish("q.1", args={"n": 2}, priority="high") == [Exists("q.1", "id")]
    assert (await desk.record("q.1")).args == {"n": 1}


async def test_the_message_comes_back_as_it_was(desk: Desk) -> None:
    sent = desk.message(
        "q.1",
        kind="render",
        args={"text": "grüße", "n": [1, 2.5, None]},
        priority="low",
        key="tenant",
        unique="u",
        expires=60,
        headers={"traceparent": "00-1"},
        redacted=("text",),
    )
    await desk.store.publish([sent])
    (delivery,) = await desk.claim()
    assert delivery.message == sent
    assert (delivery.attempt, delivery.crashes) == (1, 0)
    assert (delivery.fence.id, delivery.fence.queue) == ("q.1", "q")


async def test_what_is_due_is_ready_and_what_is_not_is_scheduled(desk: Desk) -> None:
    await desk.publish("q.now")
    await desk.publish("q.later", delay=5)
    assert [await desk.state("q.now"), await desk.state("q.later")] == ["ready", "scheduled"]
    desk.clock.advance(5)
    assert [await desk.state("q.now"), await desk.state("q.later")] == ["ready", "ready"]


async def test_an_undeclared_queue_is_made_with_the_defaults(desk: Desk) -> None:
    await desk.publish("new.1")
    stats = await desk.stats("new")
    assert (stats.depth, stats.max_depth, stats.paused) == (1, None, False)


async def test_queues_keep_jobs_apart(desk: Desk) -> None:
    await desk.publish("q.1", "r.1")
    assert await desk.ids("r") == ["r.1"]
    assert await desk.ids("q") == ["q.1"]


async def test_a_body_over_the_limit_is_refused_and_the_others_are_kept(case: StoreCase, tmp_path: Path) -> None:
    clock = FakeClock()
    store = case.make(tmp_path, clock, 20)
    await store.open()
    fits = message("q.fits", clock.time(), args={"a": "x" * 12})
    assert len(fits.args) == 20
    over = message("q.over", clock.time(), args={"a": "x" * 13})
    assert await store.publish([over, fits]) == [TooLarge(21, 20), ACCEPTED]
    assert await store.publish([over, fits]) == [TooLarge(21, 20), Exists("q.fits", "id", fits.kind)]
    assert [None if each is None else each.id for each in await store.get(["q.over", "q.fits"])] == [None, "q.fits"]
    assert store.capabilities.max_body == 20
    await store.close()


async def test_an_id_is_remembered_when_its_record_is_gone(desk: Desk) -> None:
    await desk.declare("q", records=0, id_memory=100)
    await desk.run("q.1")
    assert await desk.state("q.1") == "unknown"
    desk.clock.advance(99)
    assert await desk.publish("q.1") == [Exists("q.1", "id")]
    desk.clock.advance(3 * 24 * 3600)
    await desk.do(Prune())
    assert await desk.publish("q.1") == [ACCEPTED]


async def test_an_id_is_known_for_as_long_as_its_record(desk: Desk) -> None:
    await desk.declare("q", record_ttl=1000, id_memory=10)
    await desk.run("q.1")
    desk.clock.advance(500)
    assert await desk.publish("q.1") == [Exists("q.1", "id")]


async def test_many_at_once_are_kept_in_order(desk: Desk) -> None:
    ids = [f"q.{n:04}" for n in range(2000)]
    assert await desk.publish(*ids) == [ACCEPTED] * 2000
    assert await desk.ids(limit=5000) == ids


async def test_publishers_at_the_same_time_lose_nothing(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.publish(f"q.{n}", f"q.{n}.b") for n in range(50)))
    assert answers == [[ACCEPTED, ACCEPTED]] * 50
    assert len(await desk.claim(limit=1000, holder=A)) == 100


async def test_empty_and_odd_arguments_are_kept(desk: Desk) -> None:
    odd = {"": "", "a": raw({"b": []}), "nul": "\u0000", "smile": "😀"}
    await desk.publish("q.1")
    await desk.publish("q.2", args=odd)
    one, two = await desk.claim()
    assert bytes(one.message.args) == b"{}"
    assert (await desk.record("q.2")).args == {"": "", "a": {"b": []}, "nul": "\u0000", "smile": "😀"}
    assert two.message.args == desk.message("q.2", args=odd).args
