"""Changing many jobs without a terminal."""

from __future__ import annotations

import asyncio

from outlast.admin import bulk
from outlast.brokers.memory import MemoryStore
from outlast.core.policy import DEFAULTS
from outlast.core.store.control import Cancel
from outlast.core.store.records import Query
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk


async def test_all_that_a_query_finds_is_changed_in_steps_until_it_is_stopped() -> None:
    clock = FakeClock()
    desk = Desk(MemoryStore(clock, max_body=DEFAULTS.max_body), clock)
    await desk.publish(*(f"q.{number}" for number in range(600)))
    found = await bulk.select(desk.store, Query(queue="q", limit=7))
    assert (len(found.ids), found.groups) == (600, {("q", "send", "ready"): 600})
    stop, asked = asyncio.Event(), list[int]()

    def progress(done: int) -> None:
        asked.append(done)
        if done == 2 * bulk.BATCH:
            stop.set()

    outcome = await bulk.change(desk.store, found.ids, Cancel, stop=stop, progress=progress)
    assert asked == [bulk.BATCH, 2 * bulk.BATCH]
    assert (outcome.asked, outcome.changed, outcome.refused) == (2 * bulk.BATCH, 2 * bulk.BATCH, [])
    again = await bulk.change(desk.store, found.ids[:1], Cancel, stop=asyncio.Event(), progress=asked.append)
    assert [(id, answer.why) for id, answer in again.refused] == [(found.ids[0], "ended")]
