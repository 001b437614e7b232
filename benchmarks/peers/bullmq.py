"""BullMQ for Python: ended jobs are removed; uvloop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import uvloop
from bullmq import Queue, Worker

from benchmarks import counter

__all__ = ["client"]

OPTIONS: dict[str, Any] = {"removeOnComplete": True}
CONNECTION: dict[str, Any] = {"connection": os.environ["BENCH_REDIS"]}


async def process(job: Any, _: str) -> None:
    """The job."""
    counter.run(**job.data)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class BullmqClient:
    """BullMQ's own calls."""

    async def open(self) -> None:
        """Connect."""
        self._queue = Queue("bench", CONNECTION)

    async def close(self) -> None:
        """Close."""
        await self._queue.close()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await self._queue.add("send", {"user_id": user_id, "email": email}, OPTIONS)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue in one call."""
        jobs = [{"name": "send", "data": {"user_id": n, "email": email}, "opts": OPTIONS} for n, email in batch]
        return await self._queue.addBulk(jobs)


def client() -> BullmqClient:
    """Return what enqueues."""
    return BullmqClient()


async def main() -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = Worker("bench", process, {**CONNECTION, "concurrency": int(os.environ["BENCH_CONCURRENCY"])})
    await stop.wait()
    await worker.close()


if __name__ == "__main__":
    uvloop.run(main())
