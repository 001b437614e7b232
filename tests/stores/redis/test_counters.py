"""The counters of a queue on the server: all are 0 again when its jobs are gone, whatever has become of them."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Park, Release, Reschedule
from outlast.core.store.control import Cancel, Edit, Purge, RunNow
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk
from tests.support.stores import CASES, namespace_of, redis_url

NAMES = ("depth", "ready", "bytes", "n", "", "", "z", "run", "wait", "", "", "", "", "", "", "", "", "", "parked")
"""Those that count jobs or bytes, by their place (lua/clock.lua)."""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = next(case for case in CASES if case.name == "redis").make(tmp_path, clock, DEFAULTS.max_body)
    await store.open()
    yield Desk(store, clock)
    await store.close()


async def counters(folder: Path) -> dict[str, float]:
    """Return the counters of queue q that are not 0."""
    client = RedisClient(Address.of(redis_url()))
    await client.open()
    packed = await client.command("HGET", f"{{{namespace_of(folder)}:q}}:c", "s")
    await client.close()
    values = struct.unpack(">22d", packed)
    return {name: value for name, value in zip(NAMES, values, strict=False) if name and value}


async def plain(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim(limit=2)
    await desk.finish("q.1")


async def keyed(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", key="ann")
    await desk.publish("q.3", key="bob", priority="high")
    await desk.claim(limit=1)


async def waits(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3", "q.4")
    await desk.claim()
    later = desk.clock.time() + 9
    fences = [desk.fence(f"q.{n}") for n in range(1, 5)]
    await desk.settle(Reschedule(fences[0], later, 2), Release(fences[1], later), Park(fences[2], later))
    await desk.apply(Edit("q.1", run_at=later + 9), RunNow("q.2"), Edit("q.3", priority="low"))


async def lapses(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.claim(holder=A)
    await desk.do(Cancel("q.3"))
    await desk.lapse()
    await desk.claim(limit=1, holder=B)
    await desk.extend(A)


async def follows(desk: Desk) -> None:
    await desk.publish("q.1", unique="k")
    await desk.claim()
    for id in ("q.2", "q.3"):
        await desk.publish(id, unique=Unique("k", replace=True))


async def follows_and_takes_it(desk: Desk) -> None:
    await follows(desk)
    await desk.finish("q.1")
    await desk.claim()


async def moves(desk: Desk) -> None:
    await desk.publish("q.1", "q.2", "q.3")
    await desk.apply(Hold("q.1", "move"), Hold("q.1", "move"), Hold("q.2", "move"), Hold("q.3", "move"))
    assert [await desk.state(f"q.{n}") for n in (1, 2, 3)] == ["waiting"] * 3
    await desk.apply(Unhold("q.1"), Moved("q.2"))
    parcel = Parcel(message=desk.message("q.4"), at=desk.clock.time(), rank=0)
    await desk.apply(Adopt(parcel, "move"))


WAYS: dict[str, Callable[[Desk], Awaitable[None]]] = {
    each.__name__: each for each in (plain, keyed, waits, lapses, follows, follows_and_takes_it, moves)
}


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_counted_when_the_jobs_are_gone(desk: Desk, tmp_path: Path, way: str) -> None:
    await WAYS[way](desk)
    assert await counters(tmp_path) != {}
    for n in range(1, 5):
        await desk.do(Purge(id=f"q.{n}"))
    assert await counters(tmp_path) == {}
    await desk.publish("q.5")
    assert await desk.ids() == ["q.5"]
    await desk.finish("q.5")
    assert await counters(tmp_path) == {}
