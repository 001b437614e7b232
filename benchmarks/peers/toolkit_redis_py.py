"""The lock of redis-py, on asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from benchmarks.toolkit_calls import Cases, Place

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield blocks under a lock that no other holds."""
    redis = Redis.from_url(place.url)

    async def lock(number: int) -> None:
        async with redis.lock(f"stock:{number % 1000}", timeout=10):
            pass

    yield {"lock": lock}
    await redis.aclose()
