"""The cache of fastapi-cache2, as a decorator of functions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from benchmarks.toolkit_calls import Cases, Place, kept_key, product_of

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield reads; nothing joins the computations of one key."""
    redis = Redis.from_url(place.url)
    FastAPICache.init(RedisBackend(redis), prefix="bench")

    @cache(expire=300)
    async def product(number: int) -> dict[str, object]:
        return product_of(number)

    @cache(expire=300)
    async def slow(number: int) -> dict[str, object]:
        return await place.slow_product(number)

    yield {"hit": lambda number: product(kept_key(number)), "miss": product, "stampede": slow}
    await redis.close()
