"""Values on the server that Outlast did not write: they stop only their own job or queue."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.errors import StoreCorrupt
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Park
from outlast.core.store.control import Purge
from outlast.core.store.records import Query
from outlast.core.store.store import CompleteStore
from outlast.testing.clock import FakeClock
from tests.faults.proofs.damage import RedisVandal, damage
from tests.support.jobs import A, Desk, raw
from tests.support.stores import CASES, namespace_of, redis_url

CASE = next(case for case in CASES if case.name == "redis")


@pytest.fixture
async def client() -> AsyncIterator[RedisClient]:
    """A connection of another program."""
    client = RedisClient(Address.of(redis_url()))
    await client.open()
    yield client
    await client.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = CASE.make(tmp_path, clock, DEFAULTS.max_body)
    await store.open()
    yield Desk(store, clock)
    await store.close()


async def test_random_damage_stops_no_other_job(client: RedisClient, tmp_path: Path) -> None:
    def make(place: Path, clock: FakeClock) -> CompleteStore:
        return CASE.make(place, clock, DEFAULTS.max_body)

    report = await damage(make, RedisVandal(client, namespace_of), tmp_path, rounds=60, seconds=60, seed=1)
    assert (report.rounds > 0, report.faults) == (True, {})


@pytest.mark.parametrize("record", [b"", b"x", b"\xff" * 60, b"\0" * 33])
@pytest.mark.parametrize("key", [None, "a"])
async def test_a_claim_sets_it_aside_and_hands_out_the_others(
    desk: Desk, client: RedisClient, tmp_path: Path, record: bytes, key: str | None
) -> None:
    await desk.publish("q.1", "q.bad", "q.2", key=key)
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:b", "bad", record)
    shown = await desk.store.find(Query(queue="q"))
    assert sorted(each.id for each in shown.records) == ["q.1", "q.2", "q.bad"]
    assert await desk.ids() == ["q.1", "q.2"]
    bad = await desk.record("q.bad")
    assert (bad.state, bad.reason, [each.type for each in bad.failures]) == ("dead", "unreadable", ["Unreadable"])
    stats = await desk.stats()
    assert (stats.depth, stats.ready, stats.running, stats.dead) == (2, 0, 2, 1)
    assert (await desk.do(Purge(id="q.bad"))).ok
    assert await desk.state("q.bad") == "unknown"


async def test_a_kind_that_is_no_text_is_set_aside_by_the_worker(
    desk: Desk, client: RedisClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1", "q.bad")
    key = f"{{{namespace_of(tmp_path)}:q}}:b"
    record = await client.command("HGET", key, "bad")
    await client.command("HSET", key, "bad", record.replace(b"send", b"\xff\xffnd"))
    with caplog.at_level(logging.ERROR, "outlast.redis"):
        assert await desk.ids() == ["q.1"]
    assert "job q.bad cannot be read" in caplog.text
    stats = await desk.stats()
    assert (stats.depth, stats.running, stats.dead) == (1, 1, 1)


@pytest.mark.parametrize("name", ["b", "d", "c", "k", "due", "r", "ended", "ring"])
async def test_a_key_of_a_wrong_type_is_named_and_stops_only_its_queue(
    desk: Desk, client: RedisClient, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.publish("q.1", "q.2", "r.1")
    await desk.publish("r.later", delay=1, key="a")
    await desk.claim(limit=1)
    key = f"{{{namespace_of(tmp_path)}:q}}:{name}"
    await client.command("DEL", key)
    await client.command("SET", key, "another program's")
    desk.clock.advance(2)
    assert set(await desk.ids("q", "r")) >= {"r.1", "r.later"}
    assert await desk.finish("r.1", "r.later") == []
    assert await desk.extend(A) == []
    if name not in ("ended", "ring"):  # no claim reads these
        with pytest.raises(StoreCorrupt, match=f"the key .*:q}}:{name} does not hold a "):
            await desk.store.stats(["q"])
            await desk.publish("q.3")
            await desk.store.find(Query(queue="q"))
            await desk.claim("q")
            await desk.publish("q.later", delay=1, key="a")
    assert "r" in await desk.store.stats(["q", "r"])
    assert len((await desk.store.find(Query())).records) >= 2
    desk.clock.advance(60)
    assert await desk.claim("r") == []


@pytest.mark.parametrize("damaged", [b"", b"x" * 176, b"\xff" * 176])
async def test_counters_that_cannot_be_read_are_counted_again(
    desk: Desk, client: RedisClient, tmp_path: Path, damaged: bytes
) -> None:
    await desk.run("q.ended")
    await desk.run("q.kept", result=raw(1))
    await desk.run("q.dead", state="dead")
    await desk.publish("q.parked", "q.run1", "q.run2")
    await desk.claim()
    await desk.settle(Park(desk.fence("q.parked"), desk.clock.time() + 99))
    await desk.publish("q.later", delay=99)
    await desk.publish(*(f"q.{n}" for n in range(5)))
    before = await desk.stats()
    assert (before.depth, before.ready, before.running, before.parked, before.scheduled) == (9, 5, 2, 1, 1)
    await client.command("HSET", f"{{{namespace_of(tmp_path)}:q}}:c", "s", damaged)
    after = await desk.stats()
    assert structs.replace(after, drain_rate=before.drain_rate, bytes=before.bytes) == before
    assert await desk.ids() == [f"q.{n}" for n in range(5)]
    assert (await desk.stats()).running == 7
