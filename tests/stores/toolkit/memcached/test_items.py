"""What the cache leaves on a Memcached: keys and lives that it takes, and nothing that lasts longer than was asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from math import ceil
from urllib.parse import unquote

import pytest

from outlast import Outlast, Settings
from outlast.aio.clock import SystemClock
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.toolkit_errors import ToolkitAway
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.cache import Cache
from outlast.toolkit.cache.memcached import RELATIVE, item_life
from outlast.toolkit.keys import LONGEST
from tests.support.servers.memcached_server import MemcachedServer
from tests.support.toolkit_cache import Source, cache_on


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[MemcachedServer]:
    """A server of this test's own, with the options that the test gives."""
    server = MemcachedServer(*getattr(request, "param", ()))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def kit(server: MemcachedServer) -> AsyncIterator[Toolkit]:
    kit = Toolkit(server.url, clock=SystemClock(), timeout=30)
    yield kit
    await kit.close()


@pytest.fixture
def cache(kit: Toolkit) -> Cache:
    return cache_on(kit)


def items(server: MemcachedServer) -> dict[str, int]:
    """Return the key and the end of each item, -1 for none, as the server counts: seconds since 1970."""
    said = server.ask(b"lru_crawler metadump all\r\n", b"END\r\n").decode()
    found = [dict(each.split("=", 1) for each in line.split()) for line in said.splitlines() if line != "END"]
    return {unquote(each["key"]): int(each["exp"]) for each in found}


async def test_every_item_ends_and_has_a_key_that_memcached_takes(
    kit: Toolkit, server: MemcachedServer, cache: Cache
) -> None:
    source = Source(1)
    now = float(server.stats()["time"])
    await cache.get_or_set("read", source.compute, ttl=60, stale=30)
    await cache.set("ä \x00" + "k" * 10_000, 1, ttl=600)
    await cache.set("k" * LONGEST, 1, ttl=0.001)
    await cache.set("long", 1, ttl=RELATIVE * 2, jitter=0)
    await cache._in_use().access.begin("led", "f" * 16, (), lease=10, kept=60, past="")
    found = items(server)
    assert len(found) == 5
    assert all(len(key) <= 250 for key in found)
    assert all(now < end < now + 2 * RELATIVE + 60 for end in found.values())
    assert max(found.values()) >= now + 2 * RELATIVE


@pytest.mark.parametrize("seconds", [0.001, 0.5, 1.0, 59.5, RELATIVE - 1.0, RELATIVE, RELATIVE + 0.5, 400.0 * 86400])
def test_an_item_lives_as_long_as_it_is_used_and_two_seconds_more_at_most(seconds: float) -> None:
    now = 1_800_000_000.25
    life = item_life(seconds, now)
    left = life if life <= RELATIVE else life - ceil(now)
    assert seconds <= left - 1 < seconds + 1.5, "of the first second anything may be over"
    assert item_life(1e12, now) == 2**31 - 1


async def test_times_below_a_second_are_kept_by_the_clock_of_the_reader(kit: Toolkit, server: MemcachedServer) -> None:
    clock = FakeClock()
    cache = cache_on(Toolkit(server.url, clock=clock, timeout=30))
    await cache.set("k", 1, ttl=0.2, jitter=0)
    assert await cache.get("k") == 1
    clock.advance(0.21)
    assert await cache.get("k") is None
    assert await cache.delete("k") == 0, "it was over, though the server has it"
    await cache._in_use().access.toolkit.close()


async def test_a_value_over_the_size_of_an_item_is_refused_with_the_fix_and_frees_its_key(
    kit: Toolkit, cache: Cache
) -> None:
    cache.configure(max_value=8 * 2**20)
    value = os.urandom(1_200_000).hex()
    await cache.set("k", "old", ttl=60)
    with pytest.raises(InvalidArguments, match=r"cache\.set: .* larger items \(-I\)"):
        await cache.set("k", value, ttl=60)
    source = Source(value)
    for number in (1, 2):
        assert await cache.get_or_set("other", source.compute, ttl=60, type=str) == value
        assert source.began == number, "no lease of it is left that the next one would wait for"
    assert await cache.set("other", "small", ttl=60)


@pytest.mark.parametrize("server", [("-I", "4m")], indirect=True, ids=["-I"])
async def test_a_larger_item_size_takes_it(cache: Cache) -> None:
    cache.configure(max_value=8 * 2**20)
    value = os.urandom(1_200_000).hex()
    assert await cache.set("k", value, ttl=60)
    assert await cache.get("k") == value


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 40, b"\x7f" * 400])
async def test_a_damaged_item_is_computed_again(
    kit: Toolkit, server: MemcachedServer, cache: Cache, damage: bytes
) -> None:
    source = Source(1)
    await cache.get_or_set("k", source.compute, ttl=60)
    (key,) = items(server)
    request = f"set {key} 0 60 {len(damage)}\r\n".encode() + damage + b"\r\n"
    assert server.ask(request, b"\r\n") == b"STORED\r\n"
    assert await cache.get("k") is None
    assert await cache.get_or_set("k", source.compute, ttl=60) == 1
    assert source.began == 2
    assert await cache.get("k") == 1


async def test_a_server_without_numbers_of_states_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    server = MemcachedServer("-C")
    server.start()
    kit = Toolkit(server.url, clock=SystemClock(), timeout=30)
    cache, source = cache_on(kit), Source(2)
    try:
        await cache.set("k", 1, ttl=60)
        assert await cache.get("k", default="none") == "none"
        assert await cache.get_or_set("k", source.compute, ttl=60) == 2
        with pytest.raises(ToolkitAway, match="start it without -C"):
            await cache.delete("k")
        assert "start it without -C" in caplog.text
    finally:
        await kit.close()
        server.stop()


@pytest.mark.parametrize("version", [b"VERSION 1.4.34", b"VERSION 1.6.6", b"ERROR", b"+OK"])
async def test_a_server_that_is_too_old_gets_no_value(version: bytes) -> None:
    said: list[bytes] = []
    ended = asyncio.Event()

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.readline())
        writer.write(version + b"\r\n")
        with suppress(ConnectionResetError):
            said.append(await reader.readline() or b"the end")
        writer.close()
        ended.set()

    listening = await asyncio.start_server(old, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    kit = Toolkit(f"memcached://127.0.0.1:{port}?timeout=30", clock=SystemClock(), timeout=30)
    assert not await cache_on(kit).set("k", "flush_all\r\n", ttl=60)
    with pytest.raises(ToolkitAway, match=r"no Memcached of 1\.6\.12 or newer|: ERROR"):
        await kit.check()
    await kit.close()
    await ended.wait()
    listening.close()
    await listening.wait_closed()
    assert said in ([b"version\r\n"], [b"version\r\n", b"the end"]), "a value would be read as commands"


async def test_tags_are_refused_by_the_store_too(cache: Cache) -> None:
    source = Source(1)
    with pytest.raises(ConfigurationError, match="no tags"):
        await cache.set("k", 1, ttl=60, tags=["a"])
    with pytest.raises(ConfigurationError, match="no tags"):
        await cache.get_or_set("k", source.compute, ttl=60, tags=["a"])
    with pytest.raises(ConfigurationError, match="no tags"):
        await cache.invalidate("a")
    assert source.began == 0
    assert await cache.get_or_set("k", source.compute, ttl=60) == 1


async def test_an_app_uses_it_by_its_setting(server: MemcachedServer) -> None:
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=server.url, toolkit_timeout=30))

    @shop.cache.cached(ttl=60, key="product:{id}", none_ttl=5)
    async def product(id: int) -> int | None:
        return id or None

    assert [await product(7), await product(0), await product(7)] == [7, None, 7]
    assert int(server.stats()["curr_items"]) == 2
    assert await product.delete(7) == 1
    await shop.close()
