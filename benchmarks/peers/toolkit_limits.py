"""The limiter of limits: its asyncio storage over redis-py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from benchmarks.toolkit_calls import Cases, Place

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield decisions: of a fixed window, which costs least, and of a moving one."""
    storage = RedisStorage(f"async+{place.url}", implementation="redispy")
    rate, fixed, moving = (
        RateLimitItemPerMinute(1_000_000),
        FixedWindowRateLimiter(storage),
        MovingWindowRateLimiter(storage),
    )
    yield {
        "decision": lambda number: fixed.hit(rate, f"user:{number % 1000}"),
        "sliding decision": lambda number: moving.hit(rate, f"moving:{number % 1000}"),
    }
