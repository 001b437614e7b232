"""One computation for all processes that miss; and without the store, answers from the source, a few at once."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from tests.faults.toolkit.stampede import CONCURRENCY, miss_together, read_through_outage
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer
from tests.support.stores import namespace_of, redis_url
from tests.support.toolkit_cache import Source, cache_on


@pytest.mark.parametrize("place", ["sqlite", "redis"])
async def test_processes_that_miss_together_compute_once(place: str, tmp_path: Path) -> None:
    file = f"sqlite:{tmp_path / 'toolkit.db'}"
    url = file if place == "sqlite" else f"{redis_url()}?timeout=60&namespace={namespace_of(tmp_path)}"
    assert await miss_together(url, tmp_path, processes=2, callers=250) == (1, 500)


async def test_readers_go_on_at_the_source_while_the_server_is_killed(server: RedisServer) -> None:
    seen = await read_through_outage(server, readers=20, answers=100)
    assert seen.wrong == []
    assert seen.answers >= 100
    assert 1 <= seen.at_once <= CONCURRENCY
    assert seen.back


async def test_fifty_reads_of_a_server_that_hangs_are_answered_and_two_of_them_wait(
    kit: Toolkit, server: RedisServer
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
        with pytest.raises(ToolkitAway):
            await cache.invalidate("t")
    finally:
        os.kill(pid, signal.SIGCONT)

    async def is_kept() -> bool:
        return await cache.set("k", 1, ttl=60) and await cache.get("k") == 1

    await until(is_kept, "the store is used again")
    assert await cache.get("other") == 1


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
