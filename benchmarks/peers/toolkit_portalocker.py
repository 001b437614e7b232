"""The lock of portalocker, in threads: it has no asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from portalocker.redis import RedisLock
from redis import Redis

from benchmarks.toolkit_calls import TOGETHER, Cases, Place

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield blocks under a lock that no other holds."""
    redis, threads = Redis.from_url(place.url), ThreadPoolExecutor(TOGETHER)

    def locked(number: int) -> None:
        with RedisLock(f"stock:{number % 1000}", connection=redis, timeout=10, interrupt_on_lost=False):
            pass

    async def lock(number: int) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, locked, number)

    yield {"lock": lock}
    threads.shutdown()
