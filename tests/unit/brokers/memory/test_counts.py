"""What the memory store counts of a key goes with the key's last job: else each key that was ever used stays."""

from __future__ import annotations

from outlast.brokers.memory.tables import Tables
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import message


def test_a_key_without_jobs_is_not_counted() -> None:
    clock = FakeClock()
    tables = Tables(clock, 1000)
    tables.declare(Topology((Queue(name="q"),)))
    tables.publish(
        [message(f"q.{n}", clock.time(), key=key) for n, key in enumerate(("a", "a", "b", None))], bounded=True
    )
    counts = tables.queue("q").by_key
    assert counts == {"a": [2, 4], "b": [1, 2]}
    for id_ in ("q.0", "q.2"):
        tables.end(tables.jobs[id_], "cancelled", "test")
    assert counts == {"a": [1, 2]}
    tables.remove(tables.jobs["q.1"], purge=True)
    assert counts == {}
