"""Thousands of calls that wait for jobs to end: one read for all at a notification; each returns with its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from outlast.brokers.sqlite import SqliteStore, end_waiter
from outlast.core.errors import StoreUnavailable
from outlast.core.settlement import Park, Release, Reschedule
from outlast.core.store.control import Cancel, Purge
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, Desk

WAITS = 200


class Counting(SqliteStore):
    """Counts its looks at the file."""

    looks = 0

    async def _read(self, look: Callable[..., Any], *args: object) -> Any:
        self.looks += 1
        return await super()._read(look, *args)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = Counting(str(tmp_path / "jobs.db"), clock=clock)
    await store.open()
    desk = Desk(store, clock)
    await desk.publish(*(f"q.{number}" for number in range(WAITS)))
    await desk.claim(limit=WAITS)
    yield desk
    await store.close()


def waiting(desk: Desk, *ids: str, timeout: float = 60.0) -> asyncio.Task[Any]:
    return asyncio.create_task(desk.store.wait(ids, timeout))


async def test_a_notification_costs_one_read_however_many_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_waiter, "POLL", 3600.0)
    assert isinstance(desk.store, Counting)
    waits = [waiting(desk, f"q.{number}") for number in range(WAITS)]
    for number in range(WAITS):
        await desk.finish(f"q.{number}")
        ((record,),) = await asyncio.gather(waits[number])
        assert record.state == "succeeded"
    # Each wait reads once before and once after; each notification is one read.
    assert desk.store.looks < 4 * WAITS


async def test_no_wait_is_told_that_a_job_has_ended_which_has_not(desk: Desk, tmp_path: Path) -> None:
    """It would read the job again and again."""
    now = desk.clock.time()
    await desk.publish("r.1", "r.2", "r.3", "r.4", "r.5", expires=50)
    await desk.claim("r", holder=A)
    later = now + 900
    await desk.settle(
        Reschedule(desk.fence("r.2"), later, 2),
        Release(desk.fence("r.3"), later, begun=True),
        Release(desk.fence("r.4"), later),
        Park(desk.fence("r.5"), later),
    )
    await desk.publish("r.6", delay=900, expires=50)
    await desk.publish("r.7", expires=50)
    await desk.publish("r.8", expires=500)
    await desk.publish("r.9", "r.10", delay=900)
    await desk.do(Cancel("r.10"))
    ids = ["r.unknown", *(f"r.{n}" for n in range(1, 11))]
    with closing(apsw.Connection(str(tmp_path / "jobs.db"))) as db:
        assert end_waiter.ended(db, ids, now + 49) == ["r.unknown", "r.10"]
        assert end_waiter.ended(db, ids, now + 50) == ["r.unknown", "r.4", "r.5", "r.6", "r.7", "r.10"]
        desk.clock.advance(LEASE + 1)
        await desk.claim("s", holder=B)
        assert end_waiter.ended(db, ["r.1"], now + 50) == []
        await desk.do(Purge(id="r.9"))
        assert end_waiter.ended(db, ["r.9", "r.8"], now) == ["r.9"]


async def test_one_wait_may_be_for_several_and_is_over_with_the_last(desk: Desk) -> None:
    both, one = waiting(desk, "q.1", "q.2", "q.1", "q.nosuch"), waiting(desk, "q.1")
    await desk.finish("q.1")
    await one
    assert not both.done()
    await desk.finish("q.2")
    assert [record and record.state for record in await both] == ["succeeded", "succeeded", "succeeded", None]


async def test_a_wait_that_is_cancelled_or_over_leaves_the_others(desk: Desk) -> None:
    gone, stays = waiting(desk, "q.1"), waiting(desk, "q.1")
    (record,) = await desk.store.wait(["q.1"], 0.01)
    assert record is not None
    assert record.state == "running"
    gone.cancel()
    await asyncio.wait([gone])
    assert gone.cancelled()
    await desk.finish("q.1")
    (ended,) = await stays
    assert ended.state == "succeeded"


async def test_a_wait_ends_when_the_store_is_closed(desk: Desk) -> None:
    waits = [waiting(desk, "q.1"), waiting(desk, "q.2")]
    await desk.store.get(["q.3"])  # behind their first looks
    await desk.store.close()
    for wait in waits:
        with pytest.raises(StoreUnavailable, match="is not open here"):
            await wait
