"""One plain function that a guard runs in a thread, which nothing can stop: it may outlive the call that began it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from outlast.aio.threads import Threads
from outlast.resilience.lane import Lane

__all__ = ["BlockingCall"]


class BlockingCall:
    """Awaits the function; a permit of the bulkhead is given back when its thread has ended, not when the wait has."""

    __slots__ = ("_call", "_lane", "_lock", "_over", "begun")

    def __init__(self, lane: Lane, call: Callable[[], Any]) -> None:
        self.begun = False
        """Whether a thread has begun it. If not when the wait ends, the function is never called."""
        self._lane = lane
        self._call = call
        self._over = False
        self._lock = threading.Lock()

    async def result(self, threads: Threads) -> Any:
        """Return what the function returns, or raise what it raises."""
        answer: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()

        def take(value: Any, error: BaseException | None) -> None:
            if not answer.done():  # done: the waiting task was cancelled
                answer.set_result((value, error))

        try:
            threads.submit(self._run, take)
        except BaseException:  # the system has no thread left
            self._lane.give_permit()
            raise
        try:
            value, error = await answer
        finally:
            with self._lock:
                self._over = True
        if error is not None:
            raise error
        return value

    def _run(self) -> Any:
        try:
            with self._lock:
                if self._over:
                    return None
                self.begun = True
            return self._call()
        finally:
            self._lane.give_permit()
