"""SAQ: no results kept, three tries (its own is one), uvloop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import uvloop
from saq import Queue

from benchmarks import counter

__all__ = ["client", "send", "settings"]

uvloop.install()
queue = Queue.from_url(os.environ["BENCH_REDIS"], max_concurrent_ops=100)


async def send(_: object, *, user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


settings: dict[str, Any] = {"queue": queue, "functions": [send], "concurrency": int(os.environ["BENCH_CONCURRENCY"])}


class SaqClient:
    """SAQ's own calls."""

    async def open(self) -> None:
        """Connect."""
        await queue.connect()

    async def close(self) -> None:
        """Close."""
        await queue.disconnect()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await queue.enqueue("send", user_id=user_id, email=email, ttl=-1, retries=3)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue one after the other: it has no bulk call."""
        return [await self.one(*row) for row in batch]


def client() -> SaqClient:
    """Return what enqueues."""
    return SaqClient()
