"""The cache of cashews."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cashews import Cache

from benchmarks.toolkit_calls import Call, Cases, Place, kept_key, product_of

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield reads. Its lock keeps other processes from computing too; without it only those of one process join."""
    cache, near, memory = Cache(), Cache(), Cache()
    cache.setup(place.url)
    near.setup(place.url, client_side=True)
    memory.setup("mem://")

    @cache(ttl="5m", key="slow:{number}", lock=True)
    async def slow(number: int) -> dict[str, object]:
        return await place.slow_product(number)

    @cache(ttl="5m", key="guarded:{number}", lock=True)
    async def guarded(number: int) -> dict[str, object]:
        return product_of(number)

    hit, miss = _reads(cache)
    near_hit, _ = _reads(near)
    memory_hit, _ = _reads(memory)
    yield {
        "hit": hit,
        "miss": miss,
        "guarded miss": guarded,
        "near hit": near_hit,
        "memory hit": memory_hit,
        "stampede": slow,
    }
    for each in (cache, near, memory):
        await each.close()


def _reads(cache: Cache) -> tuple[Call, Call]:
    @cache(ttl="5m", key="product:{number}")
    async def product(number: int) -> dict[str, object]:
        return product_of(number)

    return lambda number: product(kept_key(number)), product
