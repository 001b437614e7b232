"""A store's life: what it says of itself, opening, closing, declaring."""

from __future__ import annotations

from pathlib import Path

from outlast.core.policy import DEFAULTS, Retention
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.stores import StoreCase


async def test_it_names_its_durability_and_reach(desk: Desk, case: StoreCase) -> None:
    said = desk.store.capabilities
    assert said.durability in case.durabilities
    assert (said.shared, said.spread) == (case.shared, case.spread)
    assert said.max_body == DEFAULTS.max_body


async def test_opening_twice_is_a_no_op(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.store.open()
    assert await desk.state("q.1") == "ready"


async def test_closing_twice_is_a_no_op(case: StoreCase, tmp_path: Path) -> None:
    store = case.make(tmp_path, FakeClock(), DEFAULTS.max_body)
    await store.open()
    await store.close()
    await store.close()


async def test_what_is_held_stays_held_over_a_close(case: StoreCase, desk: Desk) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim(limit=1)
    await desk.store.close()
    await desk.store.open()
    assert [await desk.state("q.1"), await desk.state("q.2")] == ["running", "ready"]
    assert await desk.finish("q.1") == []


async def test_declaring_is_idempotent_and_a_queue_not_named_keeps_what_it_has(desk: Desk) -> None:
    await desk.declare("q", max_depth=3)
    await desk.declare("q", max_depth=3)
    await desk.store.declare(Topology((Queue(name="r", max_depth=5, retention=Retention(records=1)),)))
    await desk.store.declare(Topology(()))
    stats = await desk.store.stats([])
    assert {name: each.max_depth for name, each in stats.items()} == {"q": 3, "r": 5}


async def test_declaring_keeps_the_jobs(desk: Desk) -> None:
    await desk.publish("q.1")
    await desk.declare("q", max_depth=3)
    assert await desk.ids() == ["q.1"]
