"""The order of ends that one script writes: each has a time of its own."""

from __future__ import annotations

from pathlib import Path

from outlast.core.policy import DEFAULTS
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.stores import CASES


async def test_of_ends_in_one_call_the_first_goes_first(tmp_path: Path) -> None:
    clock = FakeClock()
    store = next(case for case in CASES if case.name == "redis").make(tmp_path, clock, DEFAULTS.max_body)
    await store.open()
    desk = Desk(store, clock)
    await desk.declare("q", records=2)
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim()
    await desk.finish("q.3", "q.1", "q.2")
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["succeeded", "succeeded", "unknown"]
    await store.close()
