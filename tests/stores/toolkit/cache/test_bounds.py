"""In memory and in a file, the least recently used entries leave over a number of bytes; what has expired leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.file import CacheFile, tidy_cache
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.store import ToolkitStore
from tests.support.toolkit import PLACES, Place, toolkit_at
from tests.support.toolkit_cache import cache_on


@pytest.fixture(params=PLACES[:2], ids=lambda place: place.name)
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Toolkit]:
    place: Place = request.param
    kit = toolkit_at(place, tmp_path, FakeClock())
    yield kit
    await kit.close()


async def test_the_least_recently_used_leave_over_the_bound(kit: Toolkit) -> None:
    cache = cache_on(kit)
    cache.configure(max_bytes=400_000, max_value=10_000, compress_over=100_000)
    clock = kit.clock
    assert isinstance(clock, FakeClock)
    for number in range(500):
        clock.advance(0.001)
        await cache.set(f"k{number}", "x" * 2000, ttl=3600)
        assert await cache.get("k0") is not None, f"it is read at each step ({number})"
    kept = await cache.get_many([f"k{number}" for number in range(500)])
    assert 400_000 / 2600 - 65 <= len(kept) <= 400_000 / 2200 + 1
    assert "k499" in kept
    assert "k1" not in kept
    assert await cache.delete(*(f"k{number}" for number in range(500))) == len(kept)
    for number in range(10):
        await cache.set(f"k{number}", "x" * 2000, ttl=3600)
    assert len(await cache.get_many([f"k{number}" for number in range(10)])) == 10, "deleted bytes are free"


async def test_the_file_keeps_nothing_that_has_expired(tmp_path: Path) -> None:
    clock = FakeClock()
    kit = toolkit_at(PLACES[1], tmp_path, clock)
    cache = cache_on(kit)
    for number in range(300):
        await cache.set(f"k{number}", number, ttl=10, tags=[f"t{number}"])
    access = cache._in_use().access
    await access.begin("led", "f" * 16, (), lease=10, kept=10, past="")

    async def rows(store: ToolkitStore) -> list[int]:
        assert isinstance(store, ToolkitFile)
        assert isinstance(access._on(store), CacheFile)

        def tidied(session: object) -> None:
            while tidy_cache(session):  # type: ignore[arg-type]
                continue

        await store.write(tidied, synced=False)
        tables = ("cache", "cache_leases", "cache_tags")
        counts = [store.read_row(f"select count(*) from {table}") for table in tables]
        total = store.read_row("select bytes from cache_total")
        return [row[0] for row in (*counts, total) if row is not None]

    assert (await kit.use(rows))[:3] == [300, 1, 300]
    clock.advance(11)
    assert (await kit.use(rows))[:3] == [0, 0, 300], "the versions of tags outlive the entries"
    clock.advance(10)
    assert await kit.use(rows) == [0, 0, 0, 0]
    await kit.close()
