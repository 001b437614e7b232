"""claim: how many, from where, and when it returns."""

from __future__ import annotations

import asyncio

from outlast.core.settlement import Release
from outlast.core.store.control import Pause, RunNow
from tests.support.jobs import LEASE, A, B, Desk


async def test_at_most_limit_in_all(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "r.1", "r.2")
    assert len(await desk.claim(demand={"q": 2, "r": 2}, limit=3)) == 3
    assert len(await desk.claim(demand={"q": 2, "r": 2}, limit=3)) == 1


async def test_at_most_its_demand_of_each_queue(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3", "r.1", "r.2", "r.3")
    given = await desk.ids(demand={"q": 1, "r": 2}, limit=100)
    assert sorted(given) == ["q.1", "r.1", "r.2"]


async def test_nothing_asked_is_nothing_given(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.claim(limit=0, demand={"q": 1}) == []
    assert await desk.claim(demand={"q": 0}) == []
    assert await desk.claim(demand={}) == []
    assert await desk.state("q.1") == "ready"


async def test_an_unknown_queue_gives_nothing(desk: Desk) -> None:
    assert await desk.claim("nowhere") == []


async def test_a_job_is_given_to_one_holder(desk: Desk) -> None:
    await desk.publish("q.1")
    assert await desk.ids(holder=A) == ["q.1"]
    assert await desk.claim(holder=B) == []
    assert (await desk.record("q.1")).state == "running"
    assert (await desk.record("q.1")).holder == A.id


async def test_claims_at_the_same_time_share_no_job(desk: Desk) -> None:
    await desk.publish(*(f"q.{n}" for n in range(100)))
    shares = await asyncio.gather(*(desk.ids(limit=15, holder=holder) for holder in (A, B) * 4))
    given = [id for share in shares for id in share]
    assert len(given) == len(set(given)) == 100


async def test_tokens_rise_and_are_never_given_twice(desk: Desk) -> None:
    await desk.publish("q.1")
    tokens = []
    for _ in range(5):
        (delivery,) = await desk.claim()
        tokens.append(delivery.fence.token)
        await desk.settle(Release(delivery.fence))
    assert tokens == sorted(set(tokens))


async def test_tokens_rise_across_jobs_and_queues(desk: Desk) -> None:
    tokens = []
    for id in ("q.1", "r.1", "q.2"):
        await desk.publish(id)
        (delivery,) = await desk.claim("q", "r")
        tokens.append(delivery.fence.token)
        await desk.finish(id)
    assert tokens == sorted(set(tokens))


async def test_a_scheduled_job_is_given_when_it_is_due(desk: Desk) -> None:
    await desk.publish("q.1", delay=5)
    desk.clock.advance(4)
    assert await desk.claim() == []
    desk.clock.advance(1)
    assert await desk.ids() == ["q.1"]


async def test_a_paused_queue_gives_none_and_the_others_go_on(desk: Desk) -> None:
    await desk.publish("q.1", "r.1")
    await desk.do(Pause("q"))
    assert await desk.ids("q", "r") == ["r.1"]
    await desk.do(Pause("q", on=False))
    assert await desk.ids("q", "r") == ["q.1"]


async def test_a_wait_ends_with_nothing_when_nothing_comes(desk: Desk) -> None:
    await desk.publish("q.later", delay=1000)
    assert await desk.claim(wait=0.02) == []


async def test_a_waiting_claim_returns_after_a_publish(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.ids(wait=60))
    await asyncio.sleep(0)
    assert not waiting.done()
    await desk.publish("q.1")
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_is_not_ended_by_other_queues(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.ids("q", wait=60))
    await asyncio.sleep(0)
    await desk.publish("r.1")
    assert await desk.ids("r", holder=B) == ["r.1"]
    assert not waiting.done()
    await desk.publish("q.1")
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_returns_when_a_job_is_given_back(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    waiting = asyncio.create_task(desk.ids(holder=B, wait=60))
    await asyncio.sleep(0)
    await desk.settle(Release(desk.fence("q.1")))
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_returns_when_a_holder_is_forfeited(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    waiting = asyncio.create_task(desk.ids(holder=B, wait=60))
    await asyncio.sleep(0)
    assert await desk.store.forfeit(A, crashed=True) == 1
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_returns_when_its_queue_goes_on(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.do(Pause("q"))
    waiting = asyncio.create_task(desk.ids(wait=60))
    await asyncio.sleep(0)
    await desk.do(Pause("q", on=False))
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_returns_after_run_now(desk: Desk) -> None:
    await desk.publish("q.1", delay=1000)
    waiting = asyncio.create_task(desk.ids(wait=60))
    await asyncio.sleep(0)
    await desk.do(RunNow("q.1"))
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_returns_when_a_job_becomes_due(desk: Desk) -> None:
    await desk.publish("q.1", delay=5)
    waiting = asyncio.create_task(desk.ids(wait=60))
    await asyncio.sleep(0)
    desk.clock.advance(5)
    assert await waiting == ["q.1"]


async def test_a_waiting_claim_returns_when_a_lease_lapses(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim(holder=A)
    waiting = asyncio.create_task(desk.ids(holder=B, wait=60, lease=100))
    await asyncio.sleep(0)
    desk.clock.advance(LEASE + 1)
    assert await waiting == ["q.1"]


async def test_of_two_waiting_claims_one_gets_the_job(desk: Desk) -> None:
    waiting = [asyncio.create_task(desk.ids(holder=holder, wait=60)) for holder in (A, B)]
    await asyncio.sleep(0)
    await desk.publish("q.1")
    done, going = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [["q.1"]]
    await desk.publish("q.2")
    assert [await task for task in going] == [["q.2"]]


async def test_a_cancelled_wait_takes_no_job_with_it(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.ids(holder=A, wait=60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await desk.publish("q.1")
    assert await desk.ids(holder=B) == ["q.1"]
