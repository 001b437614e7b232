"""A Memcached that is killed, stands still or comes back empty under readers of the cache."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from tests.faults.toolkit.stampede import CONCURRENCY, miss_together, read_through_outage
from tests.support.polling import until
from tests.support.servers.memcached_server import MemcachedServer
from tests.support.standstill import stand_still
from tests.support.toolkit_cache import Source, cache_on


@pytest.fixture
def memcached() -> Iterator[MemcachedServer]:
    """A server of this test's own."""
    server = MemcachedServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def kits(memcached: MemcachedServer) -> AsyncIterator[list[Toolkit]]:
    """Two toolkits on it, as two processes have them."""
    kits = [Toolkit(memcached.url, clock=SystemClock(), timeout=1.5) for _ in range(2)]
    yield kits
    for kit in kits:
        await kit.close()


async def test_processes_that_miss_together_compute_once(memcached: MemcachedServer, tmp_path: Path) -> None:
    assert await miss_together(memcached.url, tmp_path, processes=2, callers=250, tags=()) == (1, 500)


async def test_readers_go_on_at_the_source_while_it_is_killed(memcached: MemcachedServer) -> None:
    seen = await read_through_outage(memcached, readers=20, answers=100)
    assert seen.wrong == []
    assert seen.answers >= 100
    assert 1 <= seen.at_once <= CONCURRENCY
    assert seen.back


async def test_reads_of_one_that_stands_still_are_answered_and_two_of_them_wait(
    memcached: MemcachedServer, kits: list[Toolkit]
) -> None:
    kit, cache, source = kits[0], cache_on(kits[0]), Source(5)

    async def is_kept() -> bool:
        return await cache.set("k", 1, ttl=60) and await cache.get("k") == 1

    await until(is_kept, "the store is used")
    assert memcached.process is not None
    pid = memcached.process.pid
    await stand_still(pid)
    try:
        waits = 0
        for number in range(50):
            was_away = kit.is_away
            assert await cache.get_or_set(f"k{number}", source.compute, ttl=60) == 5
            waits += not was_away
        assert waits <= 2, "a probe may follow the first"
        assert await cache.get("k", default="none") == "none"
        assert not await cache.set("other", 1, ttl=60)
        with pytest.raises(ToolkitAway):
            await cache.delete("k")
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(is_kept, "the store is used again")


async def test_one_that_comes_back_empty_gives_no_late_result_a_place(
    memcached: MemcachedServer, kits: list[Toolkit]
) -> None:
    """Its states have the same numbers again: the change of the old one must not be taken for one of the new one."""
    one, other = map(cache_on, kits)
    source, later = Source("old", held=True), Source("new", held=True)

    async def is_used() -> bool:
        return await one.set("any", 1, ttl=60)

    await until(is_used, "the store is used")  # so that the states of "k" have one number before and after
    late = asyncio.ensure_future(one.get_or_set("k", source.compute, ttl=60))
    await source.until_began(1)
    memcached.stop()
    memcached.start()

    async def is_used_again() -> bool:
        try:
            await other.delete("k")
        except ToolkitAway:
            return False
        return await other.set("any", 1, ttl=60)

    await until(is_used_again, "it is used again")
    new = asyncio.ensure_future(other.get_or_set("k", later.compute, ttl=60))
    await later.until_began(1)
    await until(is_used, "the other process uses it too")
    source.open()
    assert await late == "old"
    assert await other.get("k") is None
    later.open()
    assert await new == "new"
    assert await one.get_or_set("k", later.compute, ttl=60) == "new"
    assert later.began == 1


async def test_readers_that_are_cancelled_do_not_make_it_away(kits: list[Toolkit]) -> None:
    """As the requests of clients that go away: a value is read, computed and kept in several steps meanwhile."""
    kit, cache, source = kits[0], cache_on(kits[0]), Source(7)

    async def is_used() -> bool:
        return await cache.set("any", 1, ttl=60)

    await until(is_used, "the store is used")
    for number in range(50):
        reading = asyncio.ensure_future(cache.get_or_set(f"k{number}", source.compute, ttl=60))
        while not reading.done():
            gone = asyncio.ensure_future(cache.get(f"gone{number}"))
            for _ in range(3):
                await asyncio.sleep(0)
            gone.cancel()
        assert await reading == 7
        assert not kit.is_away
    assert len(await cache.get_many([f"k{number}" for number in range(50)])) == 50
