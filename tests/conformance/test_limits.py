"""Limits, kept by `claim`: how many run and how often one begins, of a queue and of each key; changed in use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.limits import Limit
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Adjust, Cancel, Pause, Purge
from outlast.core.topology import Queue, Topology
from tests.support.jobs import LEASE, A, B, C, Desk


async def declare(desk: Desk, name: str = "q", **limits: Any) -> None:
    """Declare one queue with limits."""
    await desk.store.declare(Topology((Queue(name=name, **limits),)))


async def fill(desk: Desk, *keys: str | None, jobs: int = 3) -> None:
    """Publish jobs "q.<key>-<number>", key by key."""
    for key in keys:
        await desk.publish(*(f"q.{key or 'none'}-{number}" for number in range(jobs)), key=key)


async def take(desk: Desk, limit: int = 100, **options: Any) -> list[str]:
    """Claim, and return the ids without the queue."""
    return [each.message.id.removeprefix("q.") for each in await desk.claim(limit=limit, **options)]


async def done(desk: Desk, *names: str) -> None:
    """Report success."""
    await desk.settle(*(Finish(desk.fence(f"q.{name}"), "succeeded") for name in names))


class TestConcurrencyOfAQueue:
    async def test_no_more_run_at_once(self, desk: Desk) -> None:
        await declare(desk, concurrency=2)
        await fill(desk, None)
        assert await take(desk) == ["none-0", "none-1"]
        assert await take(desk, holder=B) == []
        await done(desk, "none-0")
        assert await take(desk, holder=B) == ["none-2"]

    @pytest.mark.parametrize("how", ["finish", "retry", "release", "park"])
    async def test_every_end_of_a_run_frees_the_slot(self, desk: Desk, how: str) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk)
        fence, later = desk.fence("q.none-0"), desk.clock.time() + 60
        ways: dict[str, Settlement] = {
            "finish": Finish(fence, "dead", "why"),
            "retry": Reschedule(fence, later, 2),
            "release": Release(fence, later),
            "park": Park(fence, later),
        }
        await desk.settle(ways[how])
        assert await take(desk) == ["none-1"]

    async def test_a_dead_holder_holds_no_slot(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk)
        await desk.store.forfeit(A, crashed=True)
        assert await take(desk, holder=B) == ["none-0"]
        desk.clock.advance(LEASE + 1)
        assert await take(desk, holder=C) == ["none-0"]

    async def test_a_holder_comes_back_to_a_slot_that_is_taken(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk, holder=A)
        desk.clock.advance(LEASE + 1)
        await desk.publish("q.first", priority="high")
        assert await take(desk, holder=B) == ["first"]
        (lost,) = await desk.store.extend(A, lease=LEASE)
        assert (lost.fence.id, lost.why) == ("q.none-0", "superseded")
        assert len(await desk.settle(Finish(desk.fence("q.none-0"), "succeeded"))) == 1
        await done(desk, "first")
        assert await take(desk, holder=C) == ["none-0"]

    async def test_a_holder_comes_back_in_time(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk, holder=A)
        desk.clock.advance(LEASE + 1)
        assert await desk.store.extend(A, lease=LEASE) == []
        assert await take(desk, holder=B) == []
        assert await desk.settle(Finish(desk.fence("q.none-0"), "succeeded")) == []

    async def test_a_cancelled_run_keeps_its_slot_until_it_is_settled(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk)
        await desk.do(Cancel("q.none-0"))
        assert await take(desk, holder=B) == []
        await desk.settle(Finish(desk.fence("q.none-0"), "cancelled", "cancelled"))
        assert await take(desk, holder=B) == ["none-1"]

    async def test_a_full_queue_leaves_the_others_their_turns(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None)
        await desk.publish("r.0", "r.1")
        given = await desk.claim("q", "r", limit=9)
        assert [each.message.id for each in given] == ["q.none-0", "r.0", "r.1"]

    async def test_what_comes_due_joins_the_ring_once_there_is_room(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await desk.publish("q.first")
        await desk.publish("q.later", key="a", delay=5)
        assert await take(desk, lease=1000) == ["first"]
        desk.clock.advance(6)
        assert await take(desk) == []
        await desk.publish("q.last", key="b")
        await done(desk, "first")
        assert await take(desk) == ["last"]

    async def test_it_is_told_why_nothing_begins(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None)
        await take(desk)
        stats = await desk.stats()
        assert (stats.held, stats.limits, stats.changed) == ("concurrency", {"concurrency": 1}, ())
        await done(desk, "none-0")
        assert (await desk.stats()).held == ""

    async def test_what_is_due_waits_in_line(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=1)
        await take(desk)
        await desk.publish("q.due", delay=3.0)
        desk.clock.advance(4)
        assert await take(desk, holder=B) == []
        await done(desk, "none-0")
        assert await take(desk, holder=B) == ["due"]


class TestConcurrencyOfAKey:
    async def test_each_key_has_its_own(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=2))
        await fill(desk, "ann", "bob", jobs=4)
        assert await take(desk) == ["ann-0", "bob-0", "ann-1", "bob-1"]
        assert await take(desk, holder=B) == []
        await done(desk, "bob-1")
        assert await take(desk, holder=B) == ["bob-2"]

    async def test_jobs_without_a_key_have_none(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, None, "ann")
        assert await take(desk) == ["none-0", "ann-0", "none-1", "none-2"]

    async def test_keys_that_wait_are_counted_and_told(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", "bob", "cat", jobs=2)
        await take(desk)
        stats = await desk.stats()
        assert (stats.keys, stats.keys_held, stats.limits) == (0, 3, {"per_key.concurrency": 1})
        await fill(desk, "dan")
        stats = await desk.stats()
        assert (stats.keys, stats.keys_held) == (1, 3)

    async def test_freed_keys_join_in_the_order_of_the_settlements(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", "bob", "cat", jobs=2)
        await take(desk)
        await done(desk, "cat-0", "ann-0", "bob-0")
        assert await take(desk) == ["cat-1", "ann-1", "bob-1"]

    async def test_a_holder_comes_back_to_a_slot_that_is_taken(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", jobs=1)
        await take(desk, holder=A)
        desk.clock.advance(LEASE + 1)
        await desk.publish("q.first", key="ann", priority="high")
        assert await take(desk, holder=B) == ["first"]
        assert [each.why for each in await desk.extend(A)] == ["superseded"]

    async def test_a_lapsed_lease_frees_it(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", jobs=2)
        await take(desk, holder=A)
        desk.clock.advance(LEASE + 1)
        assert await take(desk, holder=B) == ["ann-0"]
        assert await take(desk, holder=C) == []

    async def test_a_purge_of_a_running_job_frees_it(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", jobs=2)
        await take(desk)
        await desk.do(Purge(id="q.ann-0"))
        assert await take(desk, holder=B) == ["ann-1"]

    async def test_a_key_that_waits_holds_nobody_up(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", jobs=500)
        await fill(desk, "bob", jobs=2)
        assert await take(desk, limit=1) == ["ann-0"]
        assert await take(desk, limit=1) == ["bob-0"]
        await done(desk, "bob-0")
        assert await take(desk, limit=1) == ["bob-1"]

    async def test_jobs_without_a_key_end_beside_those_of_keys(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", None, jobs=2)
        assert await take(desk) == ["none-0", "ann-0", "none-1"]
        await done(desk, "none-0", "ann-0", "none-1")
        assert await take(desk) == ["ann-1"]


class TestRates:
    async def test_a_burst_then_one_an_interval(self, desk: Desk) -> None:
        await declare(desk, rate="2/s", burst=3)
        await fill(desk, None, jobs=9)
        assert await take(desk) == ["none-0", "none-1", "none-2"]
        assert (await desk.stats()).held == "rate"
        desk.clock.advance(0.4)
        assert await take(desk) == []
        desk.clock.advance(0.1)
        assert await take(desk) == ["none-3"]
        desk.clock.advance(60)
        assert await take(desk) == ["none-4", "none-5", "none-6"]

    async def test_it_counts_what_begins_and_nothing_else(self, desk: Desk) -> None:
        await declare(desk, rate="1/s", burst=1)
        await fill(desk, None, jobs=1)
        await take(desk)
        await desk.settle(Release(desk.fence("q.none-0")))
        assert await take(desk) == []
        desk.clock.advance(1)
        assert await take(desk) == ["none-0"]

    async def test_each_key_has_its_own(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(rate="1/s", burst=2))
        await fill(desk, "ann", "bob")
        await fill(desk, None, jobs=1)
        assert sorted(await take(desk)) == ["ann-0", "ann-1", "bob-0", "bob-1", "none-0"]
        assert await take(desk) == []
        desk.clock.advance(1)
        assert await take(desk) == ["ann-2", "bob-2"]

    async def test_keys_whose_time_has_come_begin_their_turns(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(rate="1/s", burst=3), weights={"ann": 2, "bob": 2})
        await fill(desk, "ann", "bob", jobs=6)
        assert await take(desk) == ["ann-0", "ann-1", "bob-0", "bob-1", "ann-2", "bob-2"]
        desk.clock.advance(60)
        assert await take(desk, 5) == ["ann-3", "ann-4", "bob-3", "bob-4", "ann-5"]

    async def test_it_is_remembered_while_a_key_has_nothing(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(rate="1/10s", burst=1))
        await fill(desk, "ann", jobs=1)
        await take(desk)
        await done(desk, "ann-0")
        await desk.publish("q.again", key="ann")
        assert await take(desk) == []
        desk.clock.advance(10)
        assert await take(desk) == ["again"]

    async def test_all_limits_at_once(self, desk: Desk) -> None:
        await declare(desk, concurrency=4, rate="10/s", burst=5, per_key=Limit(concurrency=2, rate="3/s", burst=3))
        await fill(desk, "ann", "bob", None, jobs=5)
        assert await take(desk) == ["none-0", "ann-0", "bob-0", "none-1"]
        await done(desk, "ann-0", "bob-0")
        assert await take(desk) == ["ann-1"]  # the fifth of the queue's burst


class TestChanges:
    async def test_an_operator_has_the_last_word(self, desk: Desk) -> None:
        await declare(desk, concurrency=1, rate="5/s", burst=5)
        await fill(desk, None, jobs=9)
        assert await take(desk) == ["none-0"]
        answer = await desk.do(Adjust("q", {"concurrency": 3, "rate": None}))
        assert (answer.ok, answer.changed) == (True, 1)
        assert await take(desk) == ["none-1", "none-2"]
        stats = await desk.stats()
        assert stats.limits == {"concurrency": 3}
        assert stats.changed == ("concurrency", "rate")

    async def test_it_is_remembered_over_a_declaration(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await desk.do(Adjust("q", {"concurrency": 2}))
        await declare(desk, concurrency=5, per_key=Limit(concurrency=9))
        assert (await desk.stats()).limits == {"concurrency": 2, "per_key.concurrency": 9}

    async def test_keys_that_more_room_wakes_begin_their_turns(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1), weights={"ann": 2, "bob": 2})
        await fill(desk, "ann", "bob", jobs=4)
        assert await take(desk) == ["ann-0", "bob-0"]
        await desk.do(Adjust("q", {"per_key.concurrency": None}))
        assert await take(desk, 5) == ["ann-1", "ann-2", "bob-1", "bob-2", "ann-3"]

    async def test_a_reset_is_as_declared_from_now_on(self, desk: Desk) -> None:
        await declare(desk, concurrency=1, weights={"ann": 2})
        await desk.do(Adjust("q", {"concurrency": 2, "weights.ann": 5}))
        await desk.do(Adjust("q", reset=("concurrency", "weights.ann", "rate")))
        stats = await desk.stats()
        assert (stats.limits, stats.changed) == ({"concurrency": 1, "weights.ann": 2}, ())
        await declare(desk, concurrency=7)
        assert (await desk.stats()).limits == {"concurrency": 7}

    async def test_more_room_wakes_the_keys_that_wait_in_the_order_of_their_turns(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", "bob", "cat", jobs=2)
        await take(desk)
        await desk.do(Adjust("q", {"per_key.concurrency": 2}))
        assert await take(desk) == ["ann-1", "bob-1", "cat-1"]

    async def test_a_key_that_waits_in_the_ring_keeps_its_place_before_those_that_are_woken(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", "bob", jobs=2)
        await take(desk)
        await fill(desk, "cat", jobs=2)
        await desk.do(Adjust("q", {"per_key.concurrency": 2}))
        assert await take(desk) == ["cat-0", "ann-1", "bob-1", "cat-1"]

    async def test_a_limit_that_is_set_as_it_was_declared_is_set_all_the_same(self, desk: Desk) -> None:
        await declare(desk, concurrency=2)
        await desk.do(Adjust("q", {"concurrency": 2}))
        await declare(desk, concurrency=5)
        assert (await desk.stats()).limits == {"concurrency": 2}

    async def test_a_rate_that_was_taken_away_takes_its_burst_along(self, desk: Desk) -> None:
        await declare(desk)
        await desk.do(Adjust("q", {"rate": "1/s", "burst": 1}))
        await fill(desk, None)
        assert await take(desk) == ["none-0"]
        await desk.do(Adjust("q", {"rate": None}))
        assert await take(desk) == ["none-1", "none-2"]

    async def test_the_same_again_changes_nothing(self, desk: Desk) -> None:
        await declare(desk, concurrency=2)
        assert (await desk.do(Adjust("q", {"concurrency": 2}))).changed == 0

    async def test_an_unknown_queue(self, desk: Desk) -> None:
        assert (await desk.do(Adjust("nosuch", {"concurrency": 2}))).why == "unknown"

    @pytest.mark.parametrize("changes", [{"concurrency": 0}, {"rate": "fast"}, {"colour": 1}, {"burst": 2}])
    async def test_nothing_of_a_batch_with_a_wrong_one_is_applied(self, desk: Desk, changes: dict[str, Any]) -> None:
        await declare(desk)
        with pytest.raises(ConfigurationError):
            await desk.apply(Pause("q"), Adjust("q", changes))
        assert not (await desk.stats()).paused

    async def test_fewer_than_run_lets_them_end(self, desk: Desk) -> None:
        await fill(desk, None, jobs=4)
        assert len(await take(desk, limit=3)) == 3
        await desk.do(Adjust("q", {"concurrency": 2}))
        await done(desk, "none-0")
        assert await take(desk) == []
        await done(desk, "none-1")
        assert await take(desk) == ["none-3"]


class TestWaiting:
    async def test_a_freed_slot_wakes_who_waits(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk)
        waiting = asyncio.create_task(take(desk, holder=B, wait=20.0))
        await asyncio.sleep(0)
        await done(desk, "none-0")
        assert await waiting == ["none-1"]

    async def test_a_freed_slot_of_a_key_too(self, desk: Desk) -> None:
        await declare(desk, per_key=Limit(concurrency=1))
        await fill(desk, "ann", jobs=2)
        await take(desk)
        waiting = asyncio.create_task(take(desk, holder=B, wait=20.0))
        await asyncio.sleep(0)
        await done(desk, "ann-0")
        assert await waiting == ["ann-1"]

    async def test_another_process_hears_of_it(self, two: tuple[Desk, Desk]) -> None:
        one, other = two
        await declare(one, concurrency=1)
        await fill(one, None, jobs=2)
        await take(one)
        waiting = asyncio.create_task(take(other, holder=B, wait=20.0))
        await asyncio.sleep(0)
        await done(one, "none-0")
        assert await waiting == ["none-1"]

    async def test_other_limits_wake_who_waits(self, desk: Desk) -> None:
        await declare(desk, concurrency=1)
        await fill(desk, None, jobs=2)
        await take(desk)
        waiting = asyncio.create_task(take(desk, holder=B, wait=20.0))
        await asyncio.sleep(0)
        await desk.do(Adjust("q", {"concurrency": 2}))
        assert await waiting == ["none-1"]

    async def test_a_limit_of_one_over_two_stores(self, two: tuple[Desk, Desk]) -> None:
        one, other = two
        await declare(one, per_key=Limit(concurrency=1))
        await fill(one, "ann")
        assert await take(one, holder=A) == ["ann-0"]
        assert await take(other, holder=B) == []
        await done(one, "ann-0")
        assert await take(other, holder=B) == ["ann-1"]
        assert await take(one, holder=A) == []
