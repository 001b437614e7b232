"""taskito: an async job, batch claims, a 1 ms poll; its synchronous=NORMAL is compiled in and has no setting."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskito import Queue

from benchmarks import counter

__all__ = ["client", "queue", "send"]

TUNED: dict[str, Any] = {
    "workers": 8,
    "scheduler_poll_interval_ms": 1,
    "scheduler_batch_size": 100,
    "push_dispatch": True,
}
queue = Queue(db_path=os.environ["BENCH_STORE"], **({} if os.environ.get("BENCH_DEFAULTS") else TUNED))


@queue.task(name="send")
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class TaskitoClient:
    """taskito's calls block; its own async API runs them in threads, and so do we among coroutines."""

    async def open(self) -> None:
        """Make the threads."""
        self._threads = ThreadPoolExecutor(50)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue, blocking."""
        return send.delay(user_id, email)

    async def among(self, user_id: int, email: str) -> object:
        """Enqueue in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, send.delay, user_id, email)

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue in one transaction."""
        return queue.enqueue_many("send", list(batch))


def client() -> TaskitoClient:
    """Return what enqueues."""
    return TaskitoClient()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import benchmarks.peers.taskito as this

    this.queue.run_worker()
