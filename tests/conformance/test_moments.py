"""Times are reached at their very moment: a job is due, a lease lapses, a key is free, an id is forgotten then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from outlast.core.limits import Limit
from outlast.core.settlement import ACCEPTED, Exists, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Prune
from outlast.core.unique import Unique
from tests.support.jobs import LEASE, A, B, Desk, raw

SHORT = 0.25
"""Seconds before the moment: a fraction that floats keep exactly."""
LONG = 3600.0


async def before_and_at(
    desk: Desk, seconds: float, look: Callable[[], Awaitable[object]], before: object, at: object
) -> None:
    """Look shortly before the moment that is so many seconds away, and at it."""
    desk.clock.advance(seconds - SHORT)
    assert await look() == before
    desk.clock.advance(SHORT)
    assert await look() == at


async def test_a_job_is_due(desk: Desk) -> None:
    await desk.publish("q.1", delay=5)
    await before_and_at(desk, 5, lambda: desk.state("q.1"), "scheduled", "ready")
    assert (await desk.stats()).ready == 1
    assert await desk.ids() == ["q.1"]


@pytest.mark.parametrize("key", [None, "ann"])
@pytest.mark.parametrize("how", ["retry", "release", "park"])
async def test_a_job_comes_back(desk: Desk, how: str, key: str | None) -> None:
    await desk.publish("q.1", key=key)
    await desk.claim(lease=LONG)
    fence, later = desk.fence("q.1"), desk.clock.time() + 5
    ways: dict[str, Settlement] = {
        "retry": Reschedule(fence, later, 2),
        "release": Release(fence, later),
        "park": Park(fence, later),
    }
    await desk.settle(ways[how])
    await before_and_at(desk, 5, desk.ids, [], ["q.1"])


@pytest.mark.parametrize("way", [Release, Park])
async def test_a_job_that_comes_back_now_is_ready_and_its_key_has_its_place(
    desk: Desk, way: type[Release] | type[Park]
) -> None:
    await desk.publish("q.1", key="ann")
    await desk.claim()
    await desk.settle(way(desk.fence("q.1"), desk.clock.time()))
    assert await desk.state("q.1") == "ready"
    assert (await desk.stats()).ready == 1
    await desk.publish("q.2", key="bob")
    assert await desk.ids(limit=1) == ["q.1"]


async def test_a_lease_lapses(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    await before_and_at(desk, LEASE, lambda: desk.ids(holder=B), [], ["q.1"])


async def test_a_holder_is_no_consumer_any_more(desk: Desk) -> None:
    await desk.declare("q")
    await desk.claim(holder=A)

    async def consumers() -> int:
        return (await desk.stats()).consumers

    await before_and_at(desk, LEASE, consumers, 1, 0)


@pytest.mark.parametrize("delay", [0.0, 9.0])
async def test_a_job_expires(desk: Desk, delay: float) -> None:
    await desk.publish("q.1", expires=5, delay=delay)
    await before_and_at(desk, 5, lambda: desk.state("q.1"), "scheduled" if delay else "ready", "expired")


async def test_an_expired_job_gives_its_unique_key_to_a_new_one(desk: Desk) -> None:
    await desk.publish("q.1", expires=5, delay=9, unique="k")
    look = lambda: desk.publish("q.2", unique="k")  # noqa: E731
    await before_and_at(desk, 5, look, [Exists("q.1", "unique")], [ACCEPTED])


async def test_a_key_is_held_for_a_time(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=5))
    look = lambda: desk.publish("q.2", unique=Unique("k", seconds=5))  # noqa: E731
    await before_and_at(desk, 5, look, [Exists("q.1", "unique")], [ACCEPTED])


async def test_a_successor_takes_a_key_for_a_time(desk: Desk) -> None:
    await desk.publish("q.1", unique=Unique("k", seconds=5))
    await desk.claim(lease=LONG)
    await desk.publish("q.2", unique=Unique("k", seconds=50, replace=True))
    await before_and_at(desk, 5, lambda: desk.ids(holder=B), [], ["q.2"])


async def test_a_successor_expires(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim(lease=LONG)
    await desk.publish("q.2", unique=Unique("k", replace=True), expires=5)

    async def depth() -> int:
        await desk.claim(holder=B)
        return (await desk.stats()).depth

    await before_and_at(desk, 5, depth, 2, 1)


async def test_a_rate_lets_the_next_begin(desk: Desk) -> None:
    await desk.declare("q", rate="1/5s", burst=1)
    await desk.publish("q.1", "q.2")
    await desk.claim(lease=LONG)
    await before_and_at(desk, 5, desk.ids, [], ["q.2"])


async def test_a_rate_lets_the_next_of_a_key_begin(desk: Desk) -> None:
    await desk.declare("q", per_key=Limit(rate="1/5s", burst=1))
    await desk.publish("q.1", "q.2", key="ann")
    await desk.claim(lease=LONG)
    await before_and_at(desk, 5, desk.ids, [], ["q.2"])


async def test_a_job_has_waited_too_long_only_after_the_moment(desk: Desk) -> None:
    await desk.declare("q", max_age=5)
    await desk.publish("q.1")
    desk.clock.advance(5)
    assert await desk.publish("q.2") == [ACCEPTED]
    desk.clock.advance(SHORT)
    assert await desk.publish("q.3") != [ACCEPTED]


async def test_a_record_goes(desk: Desk) -> None:
    await desk.declare("q", record_ttl=60)
    await desk.run("q.1")

    async def kept() -> str:
        await desk.do(Prune())
        return await desk.state("q.1")

    await before_and_at(desk, 60, kept, "succeeded", "unknown")


async def test_a_dead_letter_goes(desk: Desk) -> None:
    await desk.declare("q", dead_ttl=60)
    await desk.run("q.1", state="dead")

    async def kept() -> str:
        await desk.do(Prune())
        return await desk.state("q.1")

    await before_and_at(desk, 60, kept, "dead", "unknown")


async def test_a_result_goes(desk: Desk) -> None:
    await desk.declare("q", record_ttl=5)
    await desk.run("q.1", result=raw(1), result_ttl=60)

    async def kept() -> str:
        await desk.do(Prune())
        return await desk.state("q.1")

    await before_and_at(desk, 60, kept, "succeeded", "unknown")


@pytest.mark.parametrize("more", [0, 1])
async def test_an_id_is_forgotten(desk: Desk, more: int) -> None:
    await desk.declare("q", records=0, record_ttl=30, id_memory=60)
    await desk.run("q.1")

    async def again() -> object:
        await desk.do(Prune())
        answers = await desk.publish("q.1", *(f"q.{desk.clock.time()}-{n}" for n in range(more)))
        return answers[0]

    await before_and_at(desk, 60, again, Exists("q.1", "id"), ACCEPTED)
