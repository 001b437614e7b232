"""Follow-ups of a Cluster that come late: jobs that were enqueued after them stay, and they are told at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast import Context, JobEnqueued
from outlast.brokers.redis.cluster_store import ClusterStore
from outlast.brokers.redis.relay import Relay
from outlast.brokers.redis.store import store_at
from outlast.core.settlement import Finish
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk
from tests.support.servers.redis_cluster import shared_cluster
from tests.support.stores import namespace_of
from tests.support.working import new_app, record, working

NEW = Unique("k", replace=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"{shared_cluster()}?namespace={namespace_of(tmp_path)}"


@pytest.fixture
async def desk(url: str) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = store_at(url, clock=clock, now=clock.time)
    await store.open()
    yield Desk(store, clock)
    await store.close()


async def settled_with_a_follow_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """End a job with a follow-up for q, which is not moved to q yet; the clock goes on by a second before and after."""
    await desk.publish("from.1")
    await desk.claim("from", holder=A)
    then = [desk.message("q.then", unique=NEW)]
    desk.clock.advance(1)
    with monkeypatch.context() as stopped:
        stopped.setattr(Relay, "move", nothing)
        await desk.settle(Finish(desk.fence("from.1"), "succeeded", then=then))
    assert await desk.state("q.then") == "unknown"
    desk.clock.advance(1)


async def nothing(*_: object) -> None:
    """Move no follow-up."""


async def move(desk: Desk) -> None:
    """Move what waits to its queue."""
    assert isinstance(desk.store, ClusterStore)
    await desk.store._relay.move(await desk.store._queues.used("from"))


async def states(desk: Desk, *ids: str) -> list[str]:
    return [await desk.state(id) for id in ids]


async def test_it_yields_to_a_job_that_was_enqueued_after_the_settlement(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled_with_a_follow_up(desk, monkeypatch)
    await desk.publish("q.new", unique=NEW)
    await move(desk)
    assert (await desk.record("q.new")).state == "ready"
    assert (await desk.record("q.then")).id == "q.new"


async def test_it_yields_to_a_newer_successor_and_to_a_newer_job_that_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.publish("q.runs", unique=NEW)
    await desk.claim(holder=B, lease=60)
    await settled_with_a_follow_up(desk, monkeypatch)
    await desk.publish("q.new", unique=NEW)
    await move(desk)
    assert await states(desk, "q.runs", "q.new") == ["running", "waiting"]
    assert (await desk.record("q.then")).id == "q.new"


async def test_it_replaces_a_job_that_was_enqueued_before_the_settlement(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.publish("from.1")
    await desk.claim("from", holder=A)
    then = [desk.message("q.then", unique=NEW)]
    desk.clock.advance(1)
    await desk.publish("q.old", unique=NEW)
    desk.clock.advance(1)
    await desk.settle(Finish(desk.fence("from.1"), "succeeded", then=then))
    assert await states(desk, "q.old", "q.then") == ["cancelled", "ready"]


async def test_it_is_told_although_it_has_not_come_to_its_queue(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = new_app(url)
    told = list[str]()
    app.observe(JobEnqueued)(lambda event: told.append(event.kind))

    @app.job(queue="to")
    async def then() -> None: ...

    @app.job(queue="from")
    async def parent(ctx: Context) -> None:
        ctx.enqueue(then.with_options(unique="k"))

    monkeypatch.setattr(Relay, "move", nothing)
    monkeypatch.setattr(Relay, "check", lambda *_: None)
    async with app:
        job = await parent.enqueue()
        async with working(app):
            await record(app, job)
    assert told == ["parent", "then"]
