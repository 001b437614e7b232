"""One computation for all processes that miss; and without the store, answers from the source, a few at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.core.errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from tests.faults.toolkit.stampede import CONCURRENCY, miss_together, read_through_outage
from tests.support.polling import until
from tests.support.servers.memcached_server import MemcachedServer, shared_memcached
from tests.support.servers.redis_server import RedisServer
from tests.support.stores import namespace_of, redis_url
from tests.support.toolkit_cache import Source, cache_on

Server = RedisServer | MemcachedServer


@pytest.mark.parametrize("place", ["sqlite", "redis", "memcached"])
async def test_processes_that_miss_together_compute_once(place: str, tmp_path: Path) -> None:
    urls = {
        "sqlite": lambda: f"sqlite:{tmp_path / 'toolkit.db'}",
        "redis": lambda: f"{redis_url()}?timeout=60&namespace={namespace_of(tmp_path)}",
        "memcached": lambda: f"{shared_memcached().url}&namespace={namespace_of(tmp_path)}",
    }
    tags = () if place == "memcached" else ("t",)
    assert await miss_together(urls[place](), tmp_path, processes=2, callers=250, tags=tags) == (1, 500)


@pytest.fixture(params=[RedisServer, MemcachedServer], ids=["redis", "memcached"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of this test's own."""
    server: Server = request.param()
    server.start()
    yield server
    server.stop()
    if isinstance(server, RedisServer):
        server.remove()


async def test_readers_go_on_at_the_source_while_the_server_is_killed(server: Server) -> None:
    seen = await read_through_outage(server, readers=20, answers=100)
    assert seen.wrong == []
    assert seen.answers >= 100
    assert 1 <= seen.at_once <= CONCURRENCY
    assert seen.back


async def test_fifty_reads_of_a_server_that_hangs_are_answered_and_two_of_them_wait(
    kit: Toolkit, server: Server
) -> None:
    cache, source = cache_on(kit), Source(5)
    assert await cache.set("other", 1, ttl=60)
    assert server.process is not None
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        waits = 0
        for number in range(50):
            was_away = kit.is_away
            assert await cache.get_or_set(f"k{number}", source.compute, ttl=60) == 5
            waits += not was_away
        assert waits <= 2, "a probe may follow the first"
        assert await cache.get("other", default="none") == "none"
        assert not await cache.set("k", 1, ttl=60)
        with pytest.raises(ToolkitAway):
            await cache.delete("k0")
        if isinstance(server, RedisServer):  # the other has no tags
            with pytest.raises(ToolkitAway):
                await cache.invalidate("t")
    finally:
        os.kill(pid, signal.SIGCONT)

    async def is_kept() -> bool:
        return await cache.set("k", 1, ttl=60) and await cache.get("k") == 1

    await until(is_kept, "the store is used again")
    assert await cache.get("other") == 1


async def test_a_memcached_that_was_restarted_gives_no_late_result_a_place() -> None:
    """Its states have the same numbers again: the change of the old one must not be taken for one of the new one."""
    server = MemcachedServer()
    server.start()
    kits = [Toolkit(server.url, clock=SystemClock(), timeout=30) for _ in range(2)]
    one, other = map(cache_on, kits)
    source, later = Source("old", held=True), Source("new", held=True)
    await one.set("any", 1, ttl=60)  # so that the states of "k" have one number before and after
    late = asyncio.ensure_future(one.get_or_set("k", source.compute, ttl=60))
    await source.until_began(1)
    server.stop()
    server.start()

    async def begins() -> bool:
        try:
            await other.get("any")
            return bool(await other.set("any", 1, ttl=60))
        except ToolkitAway:
            return False

    await until(begins, "the server is used again")
    await other.delete("k")
    new = asyncio.ensure_future(other.get_or_set("k", later.compute, ttl=60))
    await later.until_began(1)
    source.open()
    assert await late == "old"
    assert await other.get("k") is None
    later.open()
    assert await new == "new"
    assert await one.get_or_set("k", later.compute, ttl=60) == "new"
    assert later.began == 1
    for kit in kits:
        await kit.close()
    server.stop()


@pytest.mark.parametrize("server", [RedisServer], indirect=True, ids=["redis"])
async def test_each_form_of_an_invalidation_tells_that_it_failed(kit: Toolkit, server: RedisServer) -> None:
    """And what was to be voided is returned again by then, until the invalidation is repeated."""
    cache, source = cache_on(kit), Source(1)

    @cache.cached(ttl=60, key="product:{id}", tags=["products"])
    async def product(id: int) -> object:
        return await source.compute()

    assert await product(7) == 1
    source.value = 2
    assert server.process is not None
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        for form in (
            lambda: cache.delete("product:7"),
            lambda: cache.invalidate("products"),
            lambda: product.delete(7),
            lambda: asyncio.to_thread(cache.delete_sync, "product:7"),
            lambda: asyncio.to_thread(cache.invalidate_sync, "products"),
        ):
            with pytest.raises(ToolkitAway):
                await form()
    finally:
        os.kill(pid, signal.SIGCONT)

    async def is_voided() -> bool:
        try:
            await cache.invalidate("products")
        except ToolkitAway:
            return False
        return True

    await until(is_voided, "the store is used again")
    assert await product(7) == 2
