"""A claim that asks a queue for 0 jobs needs no transaction for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, Desk
from tests.support.sqlite_file import commits


@pytest.mark.parametrize("delay", [0.0, 5.0], ids=["ready", "due"])
async def test_it_is_not_written_for_a_job_that_it_could_give(tmp_path: Path, delay: float) -> None:
    path, clock = tmp_path / "jobs.db", FakeClock()
    store = SqliteStore(str(path), clock=clock)
    await store.open()
    desk = Desk(store, clock)
    assert await desk.claim(demand={"q": 1, "r": 1}, holder=A) == []
    await desk.publish("q.1", delay=delay)
    clock.advance(5)
    before = commits(path)
    assert await desk.claim(demand={"q": 0, "r": 1}, holder=A) == []
    assert await desk.claim(demand={"q": 0, "r": 0}, holder=A) == []
    assert commits(path) == before
    await store.close()
