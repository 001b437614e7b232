"""A client of a library that blocks: one by one it is called straight, among coroutines through 50 threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Blocking"]


class Blocking:
    """What enqueues; the library's own call is `enqueue`."""

    def enqueue(self, user_id: int, email: str) -> object:
        """Enqueue one job, blocking."""
        raise NotImplementedError

    async def open(self) -> None:
        """Make the threads."""
        self._threads = ThreadPoolExecutor(50)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue, blocking."""
        return self.enqueue(user_id, email)

    async def among(self, user_id: int, email: str) -> object:
        """Enqueue in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.enqueue, user_id, email)

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue one after the other: it has no bulk call."""
        return [self.enqueue(*row) for row in batch]
