"""The lock of pottery: Redlock on asyncio, over one server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pottery import AIORedlock
from redis.asyncio import Redis

from benchmarks.toolkit_calls import Cases, Place

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield blocks under a lock that no other holds."""
    redis = Redis.from_url(place.url)

    async def lock(number: int) -> None:
        async with AIORedlock(key=f"stock:{number % 1000}", masters={redis}):
            pass

    yield {"lock": lock}
    await redis.aclose()
