"""streaq: no results kept, deep prefetch, uvloop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import uvloop
from streaq import Worker

from benchmarks import counter

__all__ = ["client", "send", "worker"]

uvloop.install()
worker = Worker(redis_url=os.environ["BENCH_REDIS"], concurrency=int(os.environ["BENCH_CONCURRENCY"]), prefetch=1000)


@worker.task(ttl=0, silent=True)
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class StreaqClient:
    """streaq's own calls."""

    async def open(self) -> None:
        """Connect."""
        await worker.__aenter__()

    async def close(self) -> None:
        """Close."""
        await worker.__aexit__(None, None, None)

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await send.enqueue(user_id, email)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue in one call."""
        return await worker.enqueue_many([send.enqueue(*row) for row in batch])


def client() -> StreaqClient:
    """Return what enqueues."""
    return StreaqClient()
