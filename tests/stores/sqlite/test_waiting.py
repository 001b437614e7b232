"""Thousands of calls that wait for jobs to end: one read for all at a notification; each returns with its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.brokers.sqlite import SqliteStore, end_waiter
from outlast.core.errors import StoreUnavailable
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk

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
