"""The cache of fastapi-redis-sdk: its `CacheBackend`, as its routes use it, without a request around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis_fastapi import CacheBackend

from benchmarks.toolkit_calls import Cases, Place, kept_key, product_of

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield reads; nothing joins the computations of one key."""
    redis = Redis.from_url(place.url, max_connections=1000)  # one for each call of a stampede
    backend = CacheBackend(redis)

    async def read(key: str, compute: Callable[[], Awaitable[object]]) -> object:
        value = await backend.get(key)
        if value is None:
            value = await compute()
            await backend.set(key, value, ttl=300)
        return value

    async def product(number: int) -> object:
        async def compute() -> object:
            return product_of(number)

        return await read(f"product:{number}", compute)

    yield {
        "hit": lambda number: product(kept_key(number)),
        "miss": product,
        "stampede": lambda number: read(f"slow:{number}", lambda: place.slow_product(number)),
    }
    await redis.aclose()
