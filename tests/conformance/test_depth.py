"""max_depth: the most unfinished jobs of a queue, and what a full one answers."""

from __future__ import annotations

import pytest

from outlast.core.settlement import ACCEPTED, Exists, Finish, Full, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Cancel, Purge, Redrive
from tests.support.jobs import A, B, Desk


async def test_at_the_bound_a_new_job_is_refused(desk: Desk) -> None:
    await desk.declare("q", max_depth=2)
    one, two, three = await desk.publish("q.1", "q.2", "q.3")
    assert (one, two) == (ACCEPTED, ACCEPTED)
    assert isinstance(three, Full)
    assert await desk.state("q.3") == "unknown"
    stats = await desk.stats()
    assert (stats.depth, stats.max_depth) == (2, 2)


async def test_a_known_job_is_known_when_the_queue_is_full(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1", unique="k")
    assert await desk.publish("q.1") == [Exists("q.1", "id")]
    assert await desk.publish("q.2", unique="k") == [Exists("q.1", "unique")]


async def test_a_refused_job_may_come_again(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.publish("q.2") == [ACCEPTED]


async def test_a_refused_job_holds_no_key(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    await desk.publish("q.2", unique="k")
    await desk.claim()
    await desk.finish("q.1")
    assert await desk.publish("q.3", unique="k") == [ACCEPTED]


async def test_other_queues_are_not_bound_by_it(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    assert await desk.publish("r.1", "r.2") == [ACCEPTED, ACCEPTED]


@pytest.mark.parametrize("back", ["retry", "release", "park", "lapse", "forfeit", "running", "scheduled"])
async def test_every_unfinished_job_counts(desk: Desk, back: str) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1", delay=100 if back == "scheduled" else 0)
    if back != "scheduled":
        await desk.claim(holder=A)
        at = desk.clock.time() + 100
        settlements: dict[str, Settlement] = {
            "retry": Reschedule(desk.fence("q.1"), at, 2),
            "release": Release(desk.fence("q.1"), at),
            "park": Park(desk.fence("q.1"), at),
        }
        if back in settlements:
            assert await desk.settle(settlements[back]) == []
        elif back == "lapse":
            await desk.lapse()
        elif back == "forfeit":
            await desk.store.forfeit(A, crashed=True)
    assert isinstance((await desk.publish("q.2"))[0], Full)
    assert (await desk.stats()).depth == 1


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", "expired"])
async def test_every_end_makes_room(desk: Desk, state: str) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Finish(desk.fence("q.1"), state, "why"))  # type: ignore[arg-type]
    assert (await desk.stats()).depth == 0
    assert await desk.publish("q.2") == [ACCEPTED]


async def test_cancel_and_purge_make_room(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    await desk.do(Cancel("q.1"))
    assert await desk.publish("q.2") == [ACCEPTED]
    await desk.do(Purge(id="q.2"))
    assert await desk.publish("q.3") == [ACCEPTED]


async def test_a_purge_of_a_running_job_makes_room_once(desk: Desk) -> None:
    await desk.declare("q", max_depth=2)
    await desk.publish("q.1", "q.2")
    await desk.claim()
    await desk.do(Purge(id="q.1"))
    await desk.finish("q.1")
    assert (await desk.stats()).depth == 1


async def test_a_redrive_counts_and_passes_the_bound(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.run("q.1", state="dead")
    await desk.publish("q.2")
    assert (await desk.do(Redrive("q.1"))).ok
    assert (await desk.stats()).depth == 2
    await desk.claim(holder=B)
    await desk.finish("q.2")
    assert isinstance((await desk.publish("q.3"))[0], Full)


async def test_follow_ups_pass_a_full_queue_and_count(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    await desk.claim()
    follow = [desk.message("q.2"), desk.message("q.3")]
    assert await desk.settle(Finish(desk.fence("q.1"), "succeeded", then=follow)) == []
    assert (await desk.stats()).depth == 2
    assert isinstance((await desk.publish("q.4"))[0], Full)


async def test_a_bound_can_be_moved_and_taken_away(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    await desk.declare("q", max_depth=2)
    assert await desk.publish("q.2") == [ACCEPTED]
    await desk.declare("q", max_depth=1)
    assert isinstance((await desk.publish("q.3"))[0], Full)
    await desk.declare("q")
    assert await desk.publish("q.3") == [ACCEPTED]


async def test_a_queue_that_does_not_drain_says_a_minute(desk: Desk) -> None:
    await desk.declare("q", max_depth=1)
    await desk.publish("q.1")
    assert await desk.publish("q.2") == [Full(60.0)]


async def test_retry_after_follows_the_measured_drain_rate(desk: Desk) -> None:
    await desk.declare("q", max_depth=100)
    ids = [f"q.{n}" for n in range(60)]
    await desk.publish(*ids)
    await desk.claim(limit=60)
    await desk.finish(*ids)
    rate = (await desk.stats()).drain_rate
    assert rate == pytest.approx(60 / 30)
    await desk.publish(*(f"q.w{n}" for n in range(100)))
    (full,) = await desk.publish("q.x")
    assert isinstance(full, Full)
    assert full.retry_after == pytest.approx(10 / rate)


async def test_retry_after_is_at_least_a_second(desk: Desk) -> None:
    await desk.declare("q", max_depth=2)
    for n in range(50):
        await desk.run(f"q.{n}")
    await desk.publish("q.w1", "q.w2")
    (full,) = await desk.publish("q.x")
    assert isinstance(full, Full)
    assert full.retry_after == 1.0
