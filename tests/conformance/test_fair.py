"""Keys take turns: weights, what a flood leaves to others, and a place in line that lasts."""

from __future__ import annotations

import pytest

from outlast.core.settlement import Release, Reschedule
from outlast.core.store.control import Adjust, Cancel, Command, Purge
from outlast.core.topology import Queue, Topology
from tests.support.jobs import A, B, Desk


async def flood(desk: Desk, key: str | None, jobs: int, *, first: int = 0, delay: float = 0.0) -> list[str]:
    """Publish so many jobs of one key; their ids are "q.<key>-<number>"."""
    ids = [f"q.{key or 'none'}-{number}" for number in range(first, first + jobs)]
    await desk.publish(*ids, key=key, delay=delay)
    return ids


async def order(desk: Desk, limit: int, claims: int = 1) -> list[str]:
    """Claim, and return the ids without the queue."""
    given = []
    for _ in range(claims):
        given += await desk.claim(limit=limit)
    return [each.message.id.removeprefix("q.") for each in given]


class TestTurns:
    async def test_keys_give_one_job_each_in_turn(self, desk: Desk) -> None:
        await flood(desk, "ann", 3)
        await flood(desk, "bob", 2)
        await flood(desk, "cat", 1)
        assert await order(desk, 9) == ["ann-0", "bob-0", "cat-0", "ann-1", "bob-1", "ann-2"]

    async def test_the_turn_goes_on_in_the_next_claim(self, desk: Desk) -> None:
        await flood(desk, "ann", 3)
        await flood(desk, "bob", 3)
        assert await order(desk, 1, claims=4) == ["ann-0", "bob-0", "ann-1", "bob-1"]

    async def test_the_last_job_of_few_begins_within_two_turns_of_a_flood(self, desk: Desk) -> None:
        await flood(desk, "flood", 500)
        await order(desk, 100)
        await flood(desk, "few", 10)
        given = await order(desk, 1, claims=20)
        assert given[-1] == "few-9"

    async def test_jobs_without_a_key_are_one_more_key(self, desk: Desk) -> None:
        await flood(desk, None, 3)
        await flood(desk, "ann", 3)
        assert await order(desk, 9) == ["none-0", "ann-0", "none-1", "ann-1", "none-2", "ann-2"]

    async def test_inside_a_key_priorities_go_first(self, desk: Desk) -> None:
        await desk.publish("q.slow", key="ann", priority="low")
        await desk.publish("q.soon", key="ann", priority="high")
        await flood(desk, "bob", 2)
        assert await order(desk, 9) == ["soon", "bob-0", "slow", "bob-1"]

    async def test_a_key_that_comes_later_stands_at_the_back(self, desk: Desk) -> None:
        await flood(desk, "ann", 2)
        await flood(desk, "bob", 2, delay=5.0)
        await flood(desk, "cat", 2)
        desk.clock.advance(5)
        assert await order(desk, 9) == ["ann-0", "cat-0", "bob-0", "ann-1", "cat-1", "bob-1"]

    async def test_what_comes_due_at_once_joins_first_due_first(self, desk: Desk) -> None:
        await flood(desk, "ann", 1, delay=9.0)
        await flood(desk, "bob", 1, delay=3.0)
        desk.clock.advance(20)
        assert await order(desk, 9) == ["bob-0", "ann-0"]

    async def test_a_key_that_was_emptied_keeps_its_place(self, desk: Desk) -> None:
        await flood(desk, "ann", 1)
        await flood(desk, "bob", 2)
        await desk.do(Cancel("q.ann-0"))
        await flood(desk, "ann", 2, first=1)
        assert await order(desk, 9) == ["ann-1", "bob-0", "ann-2", "bob-1"]

    async def test_a_purged_key_is_forgotten_with_its_place(self, desk: Desk) -> None:
        await flood(desk, "ann", 1)
        await flood(desk, "bob", 1)
        await desk.do(Purge(key="ann"))
        await flood(desk, "ann", 1, first=1)
        assert await order(desk, 9) == ["bob-0", "ann-1"]

    async def test_a_job_given_back_lets_its_key_stand_at_the_back(self, desk: Desk) -> None:
        await flood(desk, "ann", 1)
        await order(desk, 1)
        await flood(desk, "bob", 1)
        await desk.settle(Release(desk.fence("q.ann-0")))
        assert await order(desk, 9) == ["bob-0", "ann-0"]

    async def test_a_retry_that_is_due_at_once_too(self, desk: Desk) -> None:
        await flood(desk, "ann", 1)
        await order(desk, 1)
        await flood(desk, "bob", 1)
        await desk.settle(Reschedule(desk.fence("q.ann-0"), desk.clock.time(), 2))
        assert await order(desk, 9) == ["bob-0", "ann-0"]

    async def test_lapsed_jobs_come_back_in_the_order_of_acceptance(self, desk: Desk) -> None:
        for key in ("ann", "bob", "cat"):
            await flood(desk, key, 1)
        await order(desk, 9)
        desk.clock.advance(60)
        given = await desk.claim(holder=B)
        assert [each.message.id for each in given] == ["q.ann-0", "q.bob-0", "q.cat-0"]

    async def test_a_thousand_keys(self, desk: Desk) -> None:
        for turn in range(2):
            await desk.store.publish([desk.message(f"q.{n}-{turn}", key=f"key {n}") for n in range(1000)])
        expected = [f"{n}-{turn}" for turn in range(2) for n in range(1000)]
        assert await order(desk, 300, claims=7) == expected


class TestWeights:
    async def declare(self, desk: Desk, **weights: int) -> None:
        """Give keys a weight."""
        await desk.store.declare(Topology((Queue(name="q", weights=weights),)))

    async def test_a_weight_is_the_jobs_of_a_turn(self, desk: Desk) -> None:
        await self.declare(desk, ann=3)
        await flood(desk, "ann", 5)
        await flood(desk, "bob", 3)
        assert await order(desk, 9) == ["ann-0", "ann-1", "ann-2", "bob-0", "ann-3", "ann-4", "bob-1", "bob-2"]

    async def test_a_turn_goes_on_in_the_next_claim(self, desk: Desk) -> None:
        await self.declare(desk, ann=3)
        await flood(desk, "ann", 5)
        await flood(desk, "bob", 2)
        assert await order(desk, 2, claims=3) == ["ann-0", "ann-1", "ann-2", "bob-0", "ann-3", "ann-4"]

    async def test_large_weights_and_short_lines(self, desk: Desk) -> None:
        await self.declare(desk, ann=100, bob=7)
        await flood(desk, "ann", 130)
        await flood(desk, "bob", 9)
        await flood(desk, "cat", 2)
        given = await order(desk, 200)
        runs = [given[0:100], given[100:107], given[107:108], given[108:138], given[138:140], given[140:]]
        assert [{each.partition("-")[0] for each in run} for run in runs] == [
            {"ann"}, {"bob"}, {"cat"}, {"ann"}, {"bob"}, {"cat"},
        ]  # fmt: skip

    async def test_they_change_while_the_queue_is_in_use(self, desk: Desk) -> None:
        await flood(desk, "ann", 4)
        await flood(desk, "bob", 2)
        assert await order(desk, 1) == ["ann-0"]
        assert (await desk.do(Adjust("q", {"weights.bob": 2}))).changed == 1
        assert await order(desk, 9) == ["bob-0", "bob-1", "ann-1", "ann-2", "ann-3"]


async def test_keys_and_queues_take_turns(desk: Desk) -> None:
    """Queues outside, keys inside."""
    for queue in ("p", "q"):
        await desk.publish(f"{queue}.a0", f"{queue}.a1", key="ann")
        await desk.publish(f"{queue}.b0", key="bob")
    await desk.publish("r.0", "r.1")
    given = await desk.claim("p", "q", "r", limit=9)
    assert [each.message.id for each in given] == ["p.a0", "q.a0", "r.0", "p.b0", "q.b0", "r.1", "p.a1", "q.a1"]


async def test_the_key_travels_with_the_job(desk: Desk) -> None:
    await desk.publish("q.1", key="ann")
    await desk.publish("q.2")
    assert [each.message.key for each in await desk.claim()] == [None, "ann"]
    (record,) = await desk.store.get(["q.1"])
    assert record is not None
    assert record.key == "ann"


async def test_the_key_of_a_lapsed_job_that_ends_cancelled_takes_no_turn(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", key="ann")
    await desk.claim(holder=A)
    await desk.do(Cancel("q.1"))
    await desk.finish("q.2")
    await desk.lapse()
    await desk.publish("q.3", key="bob")
    await desk.publish("q.4", key="ann")
    assert await desk.ids(limit=1, holder=B) == ["q.3"]
    assert await desk.ids(limit=1, holder=B) == ["q.4"]


async def test_how_many_keys_have_something_to_give(desk: Desk) -> None:
    await flood(desk, "ann", 2)
    await flood(desk, "bob", 1)
    assert (await desk.stats()).keys == 2
    await order(desk, 9)
    assert (await desk.stats()).keys == 0


@pytest.mark.parametrize("how", ["key", "id", "cancel"])
async def test_a_key_that_lost_its_jobs_gives_nothing_and_the_others_are_counted(desk: Desk, how: str) -> None:
    for key in ("ann", "bob", "cat"):
        await flood(desk, key, 1)
    ways: dict[str, Command] = {"key": Purge(key="ann"), "id": Purge(id="q.ann-0"), "cancel": Cancel("q.ann-0")}
    await desk.do(ways[how])
    if how == "key":
        assert (await desk.stats()).keys == 2
    assert await order(desk, 1) == ["bob-0"]
    await flood(desk, "ann", 1, first=1)
    assert (await desk.stats()).keys == 2
    assert await order(desk, 9) == ["cat-0", "ann-1"]
    assert (await desk.stats()).keys == 0


class TestTwoStores:
    async def test_they_share_one_ring(self, two: tuple[Desk, Desk]) -> None:
        one, other = two
        await flood(one, "ann", 2)
        await flood(other, "bob", 2)
        assert await order(one, 1) + await order(other, 1) + await order(one, 9) == ["ann-0", "bob-0", "ann-1", "bob-1"]
