"""Fences of Redis: the number of each hand-out is above the last one, whatever the server's clock says.

The clock of a server cannot be set here. So the last number is set ahead, as it stands after the clock was set back and
after a failover to a server whose clock is behind.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.store import RedisStore, store_at
from outlast.core.limits import Limit
from outlast.core.settlement import Finish, Release
from outlast.core.topology import Queue, Topology
from tests.support.jobs import A, B, lost, message
from tests.support.servers.redis_server import shared_server

COUNTERS = ">22d"
LAST_TOKEN = 17
"""The place of the last number among the counters of a queue, from 0: S_TOKEN in clock.lua."""
AHEAD = 3_600_000_000
"""Microseconds: an hour."""
DRAINED_AT = 15
"""The place of the time of the last end, from 0: S_DRAINED_AT in clock.lua."""


@pytest.fixture
async def store() -> AsyncIterator[RedisStore]:
    store = store_at(f"{shared_server().url}?namespace={uuid4().hex[:12]}", clock=SystemClock())
    await store.open()
    yield store
    await store.close()


async def plain(store: RedisStore) -> None:
    """Jobs without keys, which the plain claim hands out."""


async def keyed(store: RedisStore) -> None:
    """A limit per key: the full claim hands out the jobs."""
    await store.declare(Topology((Queue(name="q", per_key=Limit(concurrency=5)),)))


async def limited(store: RedisStore) -> None:
    """A limit of the queue: the full claim, for jobs without keys."""
    await store.declare(Topology((Queue(name="q", concurrency=5),)))


async def publish(store: RedisStore, *ids: str, key: str | None) -> None:
    now = SystemClock().time()
    await store.publish([message(id, now, key=key) for id in ids])


async def claim(store: RedisStore, holder: Any = A, *queues: str) -> list[Any]:
    return await store.claim(dict.fromkeys(queues or ("q",), 9), limit=9, holder=holder, lease=60, wait=0)


async def set_ahead(store: RedisStore, queue: str = "q") -> int:
    """Set the last number of a queue an hour ahead of the server's clock; return it."""
    space = store._client.address.namespace
    counters = f"{{{space}:{queue}}}:c"
    counts = list(struct.unpack(COUNTERS, await store._client.command("HGET", counters, "s")))
    seconds, micros = (int(part) for part in await store._client.command("TIME"))
    ahead = counts[LAST_TOKEN] = seconds * 1_000_000 + micros + AHEAD
    await store._client.command("HSET", counters, "s", struct.pack(COUNTERS, *counts))
    return ahead


WAYS: dict[str, tuple[Callable[[RedisStore], Awaitable[None]], str | None]] = {
    "plain": (plain, None),
    "keyed": (keyed, "ann"),
    "key without limits": (plain, "ann"),
    "limited": (limited, None),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_hand_out_is_numbered_above_the_last_one(store: RedisStore, way: str) -> None:
    declare, key = WAYS[way]
    await declare(store)
    await publish(store, "q.1", "q.2", key=key)
    ahead = await set_ahead(store)
    first = await claim(store)
    assert len(first) == 2
    assert [each.fence.token > ahead for each in first] == [True, True]
    assert await store.settle([Release(each.fence) for each in first]) == []
    second = await claim(store, B)
    assert [each.fence.token > first[0].fence.token for each in second] == [True, True]
    stale = [Finish(each.fence, "succeeded") for each in first]
    assert await store.settle(stale) == lost([each.fence for each in first])
    assert await store.settle([Finish(each.fence, "succeeded") for each in second]) == []


@pytest.mark.parametrize("way", WAYS)
async def test_the_number_counts_from_the_queue_that_is_furthest_ahead(store: RedisStore, way: str) -> None:
    declare, key = WAYS[way]
    await declare(store)
    await publish(store, "a.1", "q.1", "z.1", key=key)
    ahead = await set_ahead(store)
    given = await claim(store, A, "a", "q", "z")
    assert [each.fence.token > ahead for each in given] == [True] * 3
    await publish(store, "a.2", "z.2", key=key)
    later = await claim(store, A, "a", "z")
    assert [each.fence.token > given[0].fence.token for each in later] == [True] * 2


async def test_ends_before_the_clock_was_set_back_do_not_count_as_thousands(store: RedisStore) -> None:
    for number in ("q.1", "q.2"):
        await publish(store, number, key=None)
        assert await store.settle([Finish(each.fence, "succeeded") for each in await claim(store)]) == []
        counters = f"{{{store._client.address.namespace}:q}}:c"
        counts = list(struct.unpack(COUNTERS, await store._client.command("HGET", counters, "s")))
        counts[DRAINED_AT] += 10 * 3600
        await store._client.command("HSET", counters, "s", struct.pack(COUNTERS, *counts))
        assert 0 < (await store.stats(["q"]))["q"].drain_rate <= 2 / 30
