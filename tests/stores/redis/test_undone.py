"""A claim whose caller is gone is undone: its jobs alone are ready again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from outlast.brokers.redis.claim import ClaimOperations
from outlast.core.policy import DEFAULTS
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk
from tests.support.stores import CASES


async def test_the_jobs_of_other_claims_of_the_holder_stay(tmp_path: Path) -> None:
    clock = FakeClock()
    store = next(case for case in CASES if case.name == "redis").make(tmp_path, clock, DEFAULTS.max_body)
    assert isinstance(store, ClaimOperations)
    await store.open()
    desk = Desk(store, clock)
    await desk.publish("q.1", "q.2", "q.3", "q.4", key="ann")
    assert await desk.ids(limit=1, holder=A) == ["q.1"]
    assert await desk.ids(limit=1, holder=B) == ["q.2"]
    gone = asyncio.create_task(desk.claim(limit=1, holder=A))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert gone.cancelled()
    await store.finish_undo()
    assert [await desk.state(f"q.{n}") for n in range(1, 5)] == ["running", "running", "ready", "ready"]
    assert (await desk.stats()).running == 2
    assert await desk.finish("q.1", "q.2") == []
    given = await desk.claim(holder=A)
    assert [(each.message.id, each.attempt, each.crashes) for each in given] == [("q.3", 1, 0), ("q.4", 1, 0)]
    await store.close()
