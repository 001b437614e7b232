"""The cache of aiocache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiocache import Cache, cached, cached_stampede
from aiocache.serializers import JsonSerializer

from benchmarks.toolkit_calls import Cases, Place, kept_key, product_of

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield reads; `cached_stampede` is its guard against computing at the same time."""
    port = urlsplit(place.url).port
    redis = {
        "cache": Cache.REDIS,
        "endpoint": "127.0.0.1",
        "port": port,
        "pool_max_size": 1000,  # one for each call of a stampede
        "serializer": JsonSerializer(),
        "ttl": 300,
    }

    @cached(**redis, key_builder=lambda _, number: f"product:{number}")
    async def product(number: int) -> dict[str, object]:
        return product_of(number)

    @cached(cache=Cache.MEMORY, ttl=300, key_builder=lambda _, number: f"product:{number}")
    async def kept(number: int) -> dict[str, object]:
        return product_of(number)

    @cached_stampede(**redis, lease=2, key_builder=lambda _, number: f"slow:{number}")
    async def slow(number: int) -> dict[str, object]:
        return await place.slow_product(number)

    @cached_stampede(**redis, lease=2, key_builder=lambda _, number: f"guarded:{number}")
    async def guarded(number: int) -> dict[str, object]:
        return product_of(number)

    yield {
        "hit": lambda number: product(kept_key(number)),
        "miss": product,
        "guarded miss": guarded,
        "memory hit": lambda number: kept(kept_key(number)),
        "stampede": slow,
    }
    for each in (product, slow, guarded):
        await each.cache.close()
