"""A purge of a queue or a key is many short transactions, so that it blocks no other writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.settlement import ACCEPTED
from outlast.core.store.control import Pause, Purge
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.sqlite_file import commits

JOBS = 2600


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A queue of many jobs: one has ended, one runs, the others wait."""
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=1e6, log_pages=10**6))
    await store.open()
    desk = Desk(store, clock)
    await desk.publish(*(f"q.{number}" for number in range(JOBS)))
    await desk.publish("other.1")
    await desk.claim(limit=2)
    await desk.finish("q.0")
    yield desk
    await store.close()


async def test_it_takes_many_transactions_and_removes_all_but_running_jobs(desk: Desk, tmp_path: Path) -> None:
    before = commits(tmp_path / "jobs.db")
    assert (await desk.do(Purge(queue="q"))).changed == JOBS
    assert commits(tmp_path / "jobs.db") - before >= JOBS // 1000
    stats = await desk.stats()
    assert (stats.depth, stats.running) == (1, 1)
    assert (await desk.record("q.1")).cancelling
    assert [await desk.state(id) for id in ("q.0", f"q.{JOBS - 1}", "other.1")] == ["unknown", "unknown", "ready"]
    assert (await desk.do(Purge(queue="nosuch"))).changed == 0


async def test_states_are_kept_to(desk: Desk) -> None:
    assert (await desk.do(Purge(queue="q", states=("succeeded", "running")))).changed == 2
    assert (await desk.stats()).depth == JOBS - 1
    assert (await desk.do(Purge(queue="q", states=("ready",)))).changed == JOBS - 2


async def test_jobs_accepted_during_the_purge_stay(desk: Desk, tmp_path: Path) -> None:
    other = Desk(SqliteStore(str(tmp_path / "jobs.db"), clock=desk.clock), desk.clock)
    await other.store.open()
    purging = asyncio.create_task(desk.do(Purge(queue="q")))
    number = 0
    while not purging.done():
        number += 1
        assert await other.publish(f"q.new-{number}") == [ACCEPTED]
    assert (await purging).changed + (await desk.stats()).depth - 1 == JOBS + number
    assert await desk.state(f"q.new-{number}") == "ready"
    await other.store.close()


async def test_by_key_it_takes_many_too(desk: Desk, tmp_path: Path) -> None:
    ids = [f"{queue}.k{number}" for number in range(JOBS // 2) for queue in ("q", "other")]
    await desk.publish(*ids, key="ann")
    await desk.publish("q.bob", key="bob")
    before = commits(tmp_path / "jobs.db")
    assert (await desk.do(Purge(key="ann"))).changed == JOBS
    assert commits(tmp_path / "jobs.db") - before >= JOBS // 1000
    assert [await desk.state(id) for id in ("q.k0", f"other.k{JOBS // 2 - 1}", "q.bob")] == [
        "unknown",
        "unknown",
        "ready",
    ]
    assert (await desk.do(Purge(key="nobody"))).changed == 0


async def test_by_key_jobs_accepted_during_the_purge_stay(desk: Desk, tmp_path: Path) -> None:
    await desk.publish(*(f"q.k{number}" for number in range(JOBS)), key="ann")
    other = Desk(SqliteStore(str(tmp_path / "jobs.db"), clock=desk.clock), desk.clock)
    await other.store.open()
    purging = asyncio.create_task(desk.do(Purge(key="ann")))
    number = 0
    while not purging.done():
        number += 1
        assert await other.publish(f"q.new-{number}", key="ann") == [ACCEPTED]
    assert (await purging).changed >= JOBS
    assert await other.publish("q.last", key="ann") == [ACCEPTED]
    assert (await other.do(Purge(key="ann"))).changed >= 1
    assert (await desk.stats()).depth == JOBS - 1
    await other.store.close()


async def test_with_other_commands_it_is_one_step(desk: Desk, tmp_path: Path) -> None:
    before = commits(tmp_path / "jobs.db")
    paused, purged = await desk.apply(Pause("q"), Purge(queue="q"))
    assert (paused.changed, purged.changed) == (1, JOBS)
    assert commits(tmp_path / "jobs.db") - before == 1
