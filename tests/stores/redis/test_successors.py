"""Successors on a server where code works that knows none: it ends their holders and promotes none of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from outlast.brokers.redis.store import SingleServerStore, store_at
from outlast.core.settlement import ACCEPTED, Accepted, Exists
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk
from tests.support.servers.redis_server import shared_server

NEW = Unique("k", replace=True)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    url = f"{shared_server().users_url}?namespace={tmp_path.name.replace('_', '-')}-{id(clock)}"
    store = store_at(url, clock=clock, now=clock.time)
    await store.open()
    desk = Desk(store, clock)
    await desk.publish("q.1", unique="k")
    await desk.claim(holder=A, lease=1e6)
    await desk.publish("q.2", unique=NEW)
    yield desk
    await store.close()


async def command(desk: Desk, name: str, key: str, *args: str | bytes) -> object:
    """Do what code that knows no successors does, to a key of the queue."""
    assert isinstance(desk.store, SingleServerStore)
    return await desk.store._client.command(name, f"{desk.store.keyspace.prefix('q')}:{key}", *args)


async def test_the_next_claim_promotes_what_was_left_behind(desk: Desk) -> None:
    await command(desk, "HDEL", "u", "k")
    assert await desk.ids(holder=B) == ["q.2"]
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]


async def test_the_next_enqueue_meets_it(desk: Desk) -> None:
    await command(desk, "HDEL", "u", "k")
    assert await desk.publish("q.3", unique="k") == [Exists("q.2", "unique")]
    assert await desk.publish("q.3", unique=NEW) == [Accepted("q.2")]


async def test_it_yields_to_a_newer_job_that_has_the_key(desk: Desk) -> None:
    await desk.publish("q.3", unique="l")
    await command(desk, "HSET", "u", "k", msgspec.msgpack.encode(["3", float("inf")]))
    assert await desk.ids(holder=B) == ["q.3"]
    record = await desk.record("q.2")
    assert (record.state, record.reason) == ("cancelled", "replaced")


async def test_one_that_is_gone_keeps_no_other_out(desk: Desk) -> None:
    await command(desk, "HDEL", "b", "2")
    await command(desk, "HDEL", "d", "2")
    assert await desk.publish("q.3", unique=NEW) == [ACCEPTED]
    assert await desk.publish("q.4", unique=NEW) == [Accepted("q.3")]
    await desk.finish("q.1")
    assert await desk.ids(holder=B) == ["q.4"]


async def test_a_queue_that_has_none_any_more_looks_for_none(desk: Desk) -> None:
    await desk.finish("q.1")
    assert await desk.ids(holder=B) == ["q.2"]
    await desk.finish("q.2")
    assert await command(desk, "EXISTS", "un") == 0
    assert await command(desk, "HGET", "c", "next") is None
