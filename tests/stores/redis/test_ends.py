"""What ends of jobs leave on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import ACCEPTED, Exists, Release
from outlast.core.store.control import Cancel, Prune, Purge
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.stores import CASES, namespace_of, redis_url


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = next(case for case in CASES if case.name == "redis").make(tmp_path, clock, DEFAULTS.max_body)
    await store.open()
    yield Desk(store, clock)
    await store.close()


async def test_of_ends_in_one_call_the_first_goes_first(desk: Desk) -> None:
    await desk.declare("q", records=2)
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim()
    await desk.finish("q.3", "q.1", "q.2")
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["succeeded", "succeeded", "unknown"]


async def test_a_job_that_nobody_holds_is_lost_by_nobody(desk: Desk, tmp_path: Path) -> None:
    await desk.publish("q.1")
    await desk.claim()
    await desk.settle(Release(desk.fence("q.1")))
    await desk.do(Purge(id="q.1"))
    client = RedisClient(Address.of(redis_url()))
    await client.open()
    assert await client.command("EXISTS", f"{{{namespace_of(tmp_path)}}}:lost:") == 0
    await client.close()


@pytest.mark.parametrize("more", [0, 1])
async def test_an_id_is_forgotten_at_its_time_though_nothing_has_removed_it(desk: Desk, more: int) -> None:
    await desk.declare("q", records=0, id_memory=60)
    await desk.run("q.1")
    for seconds, answer in ((59, Exists("q.1", "id")), (1, ACCEPTED)):
        desk.clock.advance(seconds)
        answers = await desk.publish("q.1", *(f"q.{seconds}-{n}" for n in range(more)))
        assert answers[0] == answer


async def test_a_key_leaves_nothing_when_its_last_job_has_ended(desk: Desk, tmp_path: Path) -> None:
    await desk.publish("q.1", "q.2", key="ann")
    await desk.publish("q.3", key="bob", delay=99)
    await desk.publish("q.4", key="cat")
    client = RedisClient(Address.of(redis_url()))
    await client.open()

    async def keys() -> list[bytes]:
        found: list[bytes] = await client.command("HKEYS", f"{{{namespace_of(tmp_path)}:q}}:k")
        return sorted(found)

    assert await keys() == [b"ann", b"bob", b"cat"]
    await desk.claim()
    await desk.finish("q.1", "q.4")
    assert await keys() == [b"ann", b"bob"]
    await desk.finish("q.2")
    assert await keys() == [b"bob"]
    await desk.do(Cancel("q.3"))
    assert await keys() == []
    await client.close()


async def test_an_id_that_is_forgotten_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    await desk.declare("q", records=0, id_memory=60)
    await desk.run("q.1", "q.2")
    desk.clock.advance(30)
    await desk.run("q.3")
    client = RedisClient(Address.of(redis_url()))
    await client.open()

    async def remembered() -> tuple[int, int]:
        await desk.do(Prune())
        stem = f"{{{namespace_of(tmp_path)}:q}}"
        return await client.command("HLEN", f"{stem}:p"), await client.command("LLEN", f"{stem}:pl")

    assert await remembered() == (3, 3)
    desk.clock.advance(31)
    assert await remembered() == (1, 1)
    desk.clock.advance(30)
    assert await remembered() == (0, 0)
    await client.close()
