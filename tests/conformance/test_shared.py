"""Two store objects on one place: what one does, the other sees."""

from __future__ import annotations

import asyncio

from outlast.core.settlement import Exists, Finish, Full, Lost, Release
from outlast.core.store.control import Cancel, Pause
from outlast.core.store.records import Query
from tests.support.jobs import LEASE, A, B, Desk, lost, raw


async def test_jobs_are_seen_and_given_out_once(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.publish(*(f"q.{n}" for n in range(20)))
    assert await other.publish("q.3") == [Exists("q.3", "id")]
    shares = await asyncio.gather(*(desk.ids(limit=3, holder=holder) for desk, holder in ((one, A), (other, B)) * 5))
    given = [id for share in shares for id in share]
    assert len(given) == len(set(given)) == 20


async def test_a_waiting_claim_returns_after_the_others_publish(two: tuple[Desk, Desk]) -> None:
    one, other = two
    waiting = asyncio.create_task(one.ids(wait=60))
    await asyncio.sleep(0)
    await other.publish("q.1")
    assert await waiting == ["q.1"]


async def test_a_wait_for_the_end_returns_after_the_others_settle(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.publish("q.1")
    waiting = asyncio.create_task(one.store.wait(["q.1"], 60))
    await other.claim(holder=B)
    await other.finish("q.1", result=raw(7))
    (record,) = await waiting
    assert record is not None
    assert (record.state, record.result) == ("succeeded", 7)


async def test_a_lease_is_one_for_both(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.publish("q.1")
    old = (await one.claim(holder=A))[0].fence
    assert await other.claim(holder=B) == []
    one.clock.advance(LEASE + 1)
    assert await other.ids(holder=B) == ["q.1"]
    assert other.fence("q.1").token > old.token
    assert await one.settle(Finish(old, "succeeded")) == lost([old])
    assert await one.extend(A) == lost([old])


async def test_a_supervisor_may_extend_and_forfeit_through_its_own_store(two: tuple[Desk, Desk]) -> None:
    child, supervisor = two
    await child.publish("q.1")
    await child.claim(holder=A)
    child.clock.advance(LEASE - 1)
    assert await supervisor.extend(A) == []
    child.clock.advance(LEASE - 1)
    assert await supervisor.claim(holder=B) == []
    assert await supervisor.store.forfeit(A, crashed=True) == 1
    assert await supervisor.ids(holder=B) == ["q.1"]


async def test_commands_reach_the_other(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.publish("q.1", "r.1")
    await one.claim("r", holder=A)
    await other.apply(Pause("q"), Cancel("r.1"))
    assert await one.claim(holder=A) == []
    assert await one.extend(A) == [Lost(one.fence("r.1"), "cancelled")]
    assert await one.store.count(Query()) == {"ready": 1, "running": 1}


async def test_bounds_declared_by_one_bind_the_other(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.declare("q", max_depth=1)
    await other.publish("q.1")
    assert isinstance((await other.publish("q.2"))[0], Full)


async def test_publishers_at_the_same_time_lose_nothing(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await asyncio.gather(
        *(desk.publish(f"q.{name}{n}") for n in range(25) for name, desk in (("a", one), ("b", other)))
    )
    assert (await one.stats()).depth == (await other.stats()).depth == 50


async def test_the_other_goes_on_when_one_is_closed(two: tuple[Desk, Desk]) -> None:
    one, other = two
    await one.publish("q.1", "q.2")
    await one.claim(holder=A, limit=1)
    await one.store.close()
    assert await other.state("q.1") == "running"
    assert await other.settle(Release(one.fence("q.1"))) == []
    assert await other.ids(holder=B) == ["q.1", "q.2"]
