"""arq: no results kept, a short poll, uvloop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import uvloop
from arq import create_pool, func, run_worker
from arq.connections import RedisSettings

from benchmarks import counter

__all__ = ["client", "send"]

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])


async def send(_: object, user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class Worker:
    """What arq's worker reads."""

    functions: ClassVar[list[Any]] = [func(send, keep_result=0)]
    redis_settings = SETTINGS
    max_jobs = int(os.environ["BENCH_CONCURRENCY"])
    poll_delay = 0.01
    log_results = False


class ArqClient:
    """arq's own calls."""

    async def open(self) -> None:
        """Connect."""
        self._pool = await create_pool(SETTINGS)

    async def close(self) -> None:
        """Close."""
        await self._pool.aclose()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await self._pool.enqueue_job("send", user_id, email)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue one after the other: it has no bulk call."""
        return [await self.one(*row) for row in batch]


def client() -> ArqClient:
    """Return what enqueues."""
    return ArqClient()


if __name__ == "__main__":
    uvloop.install()
    run_worker(Worker)
