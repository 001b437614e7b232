"""huey's SqliteHuey: `fsync=True` sets synchronous=FULL; no results kept; no bulk call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from huey import SqliteHuey

from benchmarks import counter

__all__ = ["client", "queue", "send"]

queue = SqliteHuey("bench", filename=os.environ["BENCH_STORE"], fsync=True, results=False)


@queue.task(name="send")
def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class HueyClient:
    """huey blocks: one by one it is called straight, among coroutines through 50 threads."""

    async def open(self) -> None:
        """Make the threads."""
        self._threads = ThreadPoolExecutor(50)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
        queue.storage.close()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue, blocking."""
        return send(user_id, email)

    async def among(self, user_id: int, email: str) -> object:
        """Enqueue in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, send, user_id, email)

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """huey has no bulk call: one after the other."""
        return [send(user_id, email) for user_id, email in batch]


def client() -> HueyClient:
    """Return what enqueues."""
    return HueyClient()
