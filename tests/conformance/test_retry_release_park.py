"""Retry, Release, Park: how a job waits again, and what it keeps."""

from __future__ import annotations

import asyncio

from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Park, Release, Reschedule
from outlast.core.store.control import Pause
from outlast.core.store.records import Query
from outlast.core.topology import Queue, Topology
from tests.support.jobs import LEASE, A, B, Desk, failure


async def test_a_retry_comes_again_at_its_time_as_its_attempt(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    at = desk.clock.time() + 5
    await desk.settle(Reschedule(desk.fence("q.1"), at, 2, failure(1), crashes=1))
    record = await desk.record("q.1")
    assert (record.state, record.run_at, record.attempt, record.crashes) == ("scheduled", at, 2, 1)
    desk.clock.advance(4)
    assert await desk.claim() == []
    desk.clock.advance(1)
    (delivery,) = await desk.claim()
    assert (delivery.attempt, delivery.crashes) == (2, 1)


async def test_a_retry_keeps_the_time_the_job_was_first_due(desk: Desk) -> None:
    await desk.publish("q.1")
    (first,) = await desk.claim()
    await desk.settle(Reschedule(first.fence, desk.clock.time() + 5, 2))
    desk.clock.advance(5)
    (second,) = await desk.claim()
    assert second.message == first.message


async def test_a_retry_that_is_due_is_ready(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2))
    assert await desk.state("q.1") == "ready"
    assert await desk.ids() == ["q.1"]


async def test_the_last_failures_are_kept_oldest_first(desk: Desk) -> None:
    await desk.publish("q.1")
    for attempt in range(1, DEFAULTS.failures_kept + 4):
        await desk.claim()
        await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), attempt + 1, failure(attempt)))
    kept = (await desk.record("q.1")).failures
    assert [each.attempt for each in kept] == list(range(4, DEFAULTS.failures_kept + 4))


async def test_a_job_that_a_guard_has_put_off_says_so_until_it_is_handed_out_again(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    at = desk.clock.time() + 5
    await desk.settle(Release(desk.fence("q.1"), at, "waits for payments", begun=True, guard="payments"))
    assert (await desk.record("q.1")).reason == "waits for payments"
    assert [each.id for each in (await desk.store.find(Query(reason="waits for payments"))).records] == ["q.1"]
    desk.clock.advance(5)
    await desk.claim()
    assert (await desk.record("q.1")).reason is None
    await desk.settle(Release(desk.fence("q.1"), why="the worker stopped", begun=True))
    assert (await desk.record("q.1")).reason is None


async def test_a_snooze_leaves_no_failure(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time() + 5, 1))
    record = await desk.record("q.1")
    assert (record.attempt, record.failures) == (1, ())


async def test_a_release_keeps_attempt_and_crashes_and_is_ready_at_once(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 3, crashes=2))
    await desk.claim()
    await desk.settle(Release(desk.fence("q.1"), why="draining"))
    record = await desk.record("q.1")
    assert (record.state, record.attempt, record.crashes, record.holder) == ("ready", 3, 2, None)
    (delivery,) = await desk.claim(holder=B)
    assert (delivery.attempt, delivery.crashes) == (3, 2)


async def test_a_release_for_later_waits_and_keeps_its_rank(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    desk.clock.advance(1)
    await desk.publish("q.2")
    await desk.settle(Release(desk.fence("q.1"), desk.clock.time() + 5))
    assert await desk.state("q.1") == "scheduled"
    assert (await desk.record("q.1")).run_at == desk.clock.time() + 5
    desk.clock.advance(5)
    assert await desk.ids() == ["q.1", "q.2"]


async def test_a_parked_job_is_offered_again_and_keeps_attempt_and_rank(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Reschedule(desk.fence("q.1"), desk.clock.time(), 2, crashes=1))
    await desk.claim()
    desk.clock.advance(1)
    await desk.publish("q.2")
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 5))
    record = await desk.record("q.1")
    assert (record.state, record.attempt, record.run_at) == ("parked", 2, desk.clock.time() + 5)
    assert (await desk.stats()).parked == 1
    desk.clock.advance(5)
    first, second = await desk.claim()
    assert (first.message.id, first.attempt, first.crashes) == ("q.1", 2, 1)
    assert second.message.id == "q.2"


async def test_a_job_given_back_is_no_longer_its_holders(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim(holder=A)
    at = desk.clock.time() + 100
    await desk.settle(Reschedule(desk.fence("q.1"), at, 2), Release(desk.fence("q.2"), at), Park(desk.fence("q.3"), at))
    desk.clock.advance(LEASE + 1)
    assert await desk.claim(holder=B) == []
    assert await desk.extend(A) == []
    assert await desk.store.forfeit(A, crashed=True) == 0
    stats = await desk.stats()
    assert (stats.scheduled, stats.parked, stats.running) == (2, 1, 0)


async def test_who_declares_a_kind_is_given_its_parked_jobs_at_once_at_their_rank(desk: Desk) -> None:
    await desk.publish("q.1", "r.1", kind="new")
    await desk.publish("q.2", kind="newer")
    await desk.claim("q", "r")
    desk.clock.advance(1)
    await desk.publish("q.3")
    at = desk.clock.time() + 1000
    await desk.settle(*(Park(desk.fence(id), at) for id in ("q.1", "r.1", "q.2")))
    await desk.store.declare(Topology(kinds=("send",)))
    await desk.store.declare(Topology((Queue(name="q"),)))
    assert await desk.ids("r", holder=B) == []
    assert [await desk.state(id) for id in ("q.1", "q.2", "r.1")] == ["parked"] * 3
    await desk.store.declare(Topology(kinds=("send", "new")))
    assert await desk.ids("q", holder=B) == ["q.1", "q.3"]
    assert await desk.ids("r", holder=B) == ["r.1"]
    assert await desk.state("q.2") == "parked"


async def test_parked_jobs_with_keys_take_their_turns_when_their_kind_is_declared(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", key="ann", kind="new")
    await desk.publish("q.3", key="bob", kind="newer")
    await desk.publish("r.1", key="ann", kind="new")
    await desk.claim("q", "r")
    at = desk.clock.time() + 1000
    await desk.settle(*(Park(desk.fence(id), at) for id in ("q.1", "q.2", "q.3", "r.1")))
    await desk.publish("q.4", key="cat")
    await desk.publish("q.5", key="dan")
    await desk.store.declare(Topology(kinds=("send", "new")))
    assert await desk.ids(limit=3, holder=B) == ["q.4", "q.5", "q.1"]
    await desk.publish("q.6", key="bob")
    assert await desk.ids(holder=B) == ["q.2", "q.6"]  # the key of a job that stays parked has had no turn
    assert await desk.state("q.3") == "parked"
    assert await desk.ids("r", holder=B) == ["r.1"]
    desk.clock.advance(1000)
    assert await desk.ids(holder=B) == ["q.3"]


async def test_a_declaration_without_kinds_leaves_those_that_are_known(desk: Desk) -> None:
    await desk.store.declare(Topology(kinds=("new",)))
    await desk.store.declare(Topology((Queue(name="q"),)))
    await desk.publish("q.1", kind="new")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 1000))
    assert await desk.ids(holder=B) == ["q.1"]


async def test_a_claim_that_waits_is_given_what_a_declaration_made_due(desk: Desk) -> None:
    await desk.publish("q.1", kind="new")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 1000))
    waiting = asyncio.create_task(desk.ids(wait=60, holder=B))
    await asyncio.sleep(0)
    await desk.store.declare(Topology(kinds=("new",)))
    assert await waiting == ["q.1"]


async def test_a_paused_queue_keeps_what_is_parked(desk: Desk) -> None:
    await desk.publish("q.1", kind="new")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.1"), desk.clock.time() + 1000))
    await desk.apply(Pause("q"))
    await desk.store.declare(Topology(kinds=("new",)))
    assert await desk.claim(holder=B) == []
    await desk.apply(Pause("q", on=False))
    assert await desk.ids(holder=B) == ["q.1"]


async def test_what_one_parks_is_due_at_once_for_the_other_that_knows_it(two: tuple[Desk, Desk]) -> None:
    """An old worker and a new one side by side."""
    old, new = two
    await new.store.declare(Topology(kinds=("new",)))
    await old.publish("q.1", kind="new")
    await old.claim()
    waiting = asyncio.create_task(new.ids(wait=60, holder=B))
    await asyncio.sleep(0)
    await old.settle(Park(old.fence("q.1"), old.clock.time() + 5))
    assert await old.claim() == []
    assert await waiting == ["q.1"]
