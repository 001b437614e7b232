"""Copies in the process: used while the server tells of changes, dropped at each change and when it may be missed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from outlast import deadline
from outlast.aio.clock import SystemClock
from outlast.core.errors import DeadlinePassed
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.cache import Cache
from outlast.toolkit.cache.near import NO_COPY, NearCopies
from outlast.toolkit.cache.store import CacheEntry
from outlast.toolkit.cache.values import ValuePacking
from tests.faults.toolkit.interleavings import interleave
from tests.support.counts import Counted
from tests.support.polling import until
from tests.support.servers.redis_programs import IN_SUITE, installed
from tests.support.servers.redis_server import RedisServer
from tests.support.toolkit_cache import Source, cache_on

READS = "outlast_cache_reads_total"


@pytest.fixture(params=["", *installed(*IN_SUITE).values()])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of this test's own, of each program."""
    server = RedisServer(server=request.param)
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def caches(server: RedisServer) -> AsyncIterator[list[Cache]]:
    """The caches of two processes."""
    kits = [Toolkit(server.url, clock=SystemClock(), timeout=30) for _ in range(2)]
    yield [cache_on(kit) for kit in kits]
    for kit in kits:
        await kit.close()


async def read(cache: Cache, source: Source) -> object:
    return await cache.get_or_set("k", source.compute, ttl=60, tags=["t"], near=60)


def copied(cache: Cache) -> bool:
    return cache._in_use().near.find("k") is not NO_COPY


async def read_until_copied(cache: Cache, source: Source) -> None:
    async def look() -> bool:
        await read(cache, source)
        return copied(cache)

    await until(look, "a copy is made")


@pytest.mark.parametrize("by", ["delete", "tag", "set"])
async def test_a_change_by_another_process_drops_the_copy(caches: list[Cache], by: str) -> None:
    cache, other = caches
    source = Source([1])
    await read_until_copied(cache, source)
    first = await read(cache, source)
    assert isinstance(first, list)
    first.append(2)
    assert await read(cache, source) == [1], "each caller has a value of its own"
    source.value = [2]
    if by == "delete":
        await other.delete("k")
    elif by == "tag":
        await other.invalidate("t")
    else:
        await other.set("k", [2], ttl=60, tags=["t"])

    async def is_new() -> bool:
        return await read(cache, source) == [2]

    await until(is_new, "the copy is dropped")


@pytest.mark.parametrize("by", ["delete", "tag", "set"])
async def test_a_change_by_this_process_drops_the_copy_at_once(caches: list[Cache], by: str) -> None:
    cache, source = caches[0], Source(1)
    await read_until_copied(cache, source)
    source.value = 2
    if by == "delete":
        await cache.delete("k")
    elif by == "tag":
        await cache.invalidate("t")
    else:
        await cache.set("k", 2, ttl=60)
    assert await read(cache, source) == 2


async def test_without_the_server_there_are_no_copies_until_it_tells_again(
    caches: list[Cache], server: RedisServer
) -> None:
    cache, source = caches[0], Source(1)
    await read_until_copied(cache, source)
    server.stop()
    await until(lambda: not cache._in_use().near.on, "copies are off")
    assert not copied(cache)
    source.value = 2
    assert await read(cache, source) == 2, "from the source"
    server.start()
    await read_until_copied(cache, source)
    assert await read(cache, source) == 2


async def test_the_deadline_of_one_caller_drops_no_copy(caches: list[Cache]) -> None:
    cache, source = caches[0], Source(1)
    await read_until_copied(cache, source)
    with deadline(0), pytest.raises(DeadlinePassed):
        await cache.get_or_set("other", source.compute, ttl=60, near=60)
    assert copied(cache)
    assert cache._in_use().near.on


async def test_no_old_copy_is_returned_after_an_invalidation_by_this_process(caches: list[Cache]) -> None:
    await read_until_copied(caches[0], Source(1))
    verdict = await interleave([caches[0]], 500, seed=3, near=60, tags=True)
    assert verdict.old == []
    assert caches[0]._in_use().near.on


class Text:
    """A form of text."""

    def validate(self, value: object) -> object:
        return value

    def write(self, value: str) -> bytes:
        return value.encode()

    def read(self, body: bytes) -> str:
        return body.decode()


def test_a_change_while_an_entry_is_read_leaves_no_copy() -> None:
    near = NearCopies(lambda: 0.0)
    near.switch(on=True)
    packing = ValuePacking(Text(), most=100, compress_over=100, where="test")
    entry = CacheEntry("i", b"jold", 60, 0, {"t": "1"})
    changes: list[Callable[[], None]] = [
        lambda: near.changed(["k"]),
        lambda: near.tags_changed(["t"]),
        lambda: near.switch(on=True),
    ]
    for change in changes:
        read = near.begin("k")
        change()
        near.keep(read, "k", entry, packing, 60)
        assert near.find("k") is NO_COPY
    near.keep(near.begin("k"), "k", entry, packing, 60)
    assert near.find("k") == "old"
    near.tags_changed(["t"])
    assert near.find("k") is NO_COPY
    for number in range(5000):
        near.keep(near.begin(f"k{number}"), f"k{number}", entry, packing, 60)
    assert near.find("k0") is NO_COPY
    assert near.find("k4999") == "old"
    near.switch(on=False)
    assert not near._tagged


async def test_reads_of_the_copy_are_counted_as_such(caches: list[Cache]) -> None:
    cache, source = caches[0], Source()

    @cache.cached(ttl=60, near=60, key="near")
    async def product() -> object:
        return await source.compute()

    await read_until_copied(cache, source)  # from now on the server tells of changes
    counted, direct = Counted(READS, product.__qualname__), Counted(READS, "get_or_set")  # type: ignore[attr-defined]
    for _ in range(3):
        await read(cache, source)
    assert direct.added == {"near": 3}
    await product()
    await product()
    for _ in range(3):
        await product()
    added = counted.added
    assert added.pop("miss") == 1
    assert set(added) <= {"hit", "near"}
    assert sum(added.values()) == 4
    assert added["near"] >= 3
