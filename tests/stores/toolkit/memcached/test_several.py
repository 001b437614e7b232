"""Several servers: one that is away takes its own keys with it, and gives no old value when it is back."""

from __future__ import annotations

import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from outlast.aio.clock import SystemClock
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.cache import Cache
from tests.support.polling import until
from tests.support.servers.memcached_server import MemcachedServer
from tests.support.standstill import stand_still
from tests.support.toolkit_cache import Source, cache_on

KEYS = [f"k{number}" for number in range(40)]


@pytest.fixture
def servers() -> Iterator[list[MemcachedServer]]:
    """Two servers of this test's own."""
    servers = [MemcachedServer(), MemcachedServer()]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
async def kit(servers: list[MemcachedServer]) -> AsyncIterator[Toolkit]:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    kit = Toolkit(f"memcached://{hosts}?timeout=3", clock=SystemClock(), timeout=60)
    yield kit
    await kit.close()


async def kept(cache: Cache) -> int:
    """Return how many of the keys have a value."""
    return len(await cache.get_many(KEYS))


async def is_whole(cache: Cache) -> bool:
    return await cache.set_many(dict.fromkeys(KEYS, 2), ttl=60) and await kept(cache) == len(KEYS)


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_the_keys_of_the_other_server_are_in_use(
    kit: Toolkit, servers: list[MemcachedServer], fault: str
) -> None:
    cache = cache_on(kit)
    await until(lambda: is_whole(cache), "both have their keys")
    on_each = [int(server.stats()["curr_items"]) for server in servers]
    assert min(on_each) >= 5
    gone, process = servers[0], servers[0].process
    assert process is not None
    if fault == "killed":
        gone.stop()
    else:
        await stand_still(process.pid)
    try:
        assert await kept(cache) == on_each[1]
        assert await kept(cache) == on_each[1]
        assert not kit.is_away, "the rest of the cache is in use"
        source, answers = Source(3), 0
        for key in KEYS:
            answers += await cache.get_or_set(key, source.compute, ttl=60) == 3
        assert answers == source.began == on_each[0], "those come from the source"
        away = 0
        for key in KEYS:
            try:
                await cache.delete(key)
            except ToolkitAway:
                away += 1
        assert away == on_each[0]
    finally:
        if fault == "killed":
            gone.start()
        else:
            os.kill(process.pid, signal.SIGCONT)
    await until(lambda: is_whole(cache), "both are in use")


async def test_it_opens_with_one_server_and_not_with_none(kit: Toolkit, servers: list[MemcachedServer]) -> None:
    servers[0].stop()
    await kit.check()
    await kit.close()
    servers[1].stop()
    with pytest.raises(ToolkitAway):
        await kit.check()


async def test_one_that_has_no_memory_left_takes_its_own_keys_with_it(caplog: pytest.LogCaptureFixture) -> None:
    full, other = MemcachedServer("-m", "2", "-M"), MemcachedServer()
    full.start()
    other.start()
    kit = Toolkit(
        f"memcached://127.0.0.1:{full.port},127.0.0.1:{other.port}?timeout=30", clock=SystemClock(), timeout=60
    )
    cache = cache_on(kit)
    try:
        with caplog.at_level(logging.ERROR, logger="outlast.toolkit"):
            kept = [await cache.set(f"k{number}", secrets.token_hex(20_000), ttl=600) for number in range(400)]
        assert not all(kept), "it is full"
        assert any(kept[-20:]), "the other is in use"
        assert not kit.is_away
        assert "has no memory left: raise its -m" in caplog.text
    finally:
        await kit.close()
        full.stop()
        other.stop()
