"""When the memory store looks again without a notification: not for what a look would not give out."""

from __future__ import annotations

import pytest

from outlast.brokers.memory.delivery import next_event
from outlast.brokers.memory.tables import Tables
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import message


@pytest.mark.parametrize("passed", [0.0, 60.0])
def test_a_due_job_of_a_queue_that_gives_none_out_is_no_event(passed: float) -> None:
    clock = FakeClock()
    tables = Tables(clock, 1000)
    tables.declare(Topology((Queue(name="paused"), Queue(name="full", concurrency=1))))
    tables.publish([message(f"{name}.1", clock.time(), delay=30) for name in ("paused", "full")], bounded=True)
    demand = {"paused": 1, "full": 1}
    assert next_event(tables, demand) == 30
    clock.advance(passed)
    tables.queue("paused").paused = True
    tables.queue("full").begin(None)
    assert next_event(tables, demand) is None
