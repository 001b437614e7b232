"""Wake all tasks that wait for a change, in any event loop and thread; no notification is missed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

__all__ = ["Notifier"]


class Notifier:
    """Counts notifications. Read `count` before you check for a change, then wait for the next notification."""

    __slots__ = ("_lock", "_waiting", "count")

    def __init__(self) -> None:
        self.count = 0
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    def notify(self) -> None:
        """Wake all waiters. Call it from any thread."""
        with self._lock:
            self.count += 1
            if not self._waiting:
                return
            waiting, self._waiting = self._waiting, {}
        running = asyncio._get_running_loop()
        for future, loop in waiting.items():
            if loop is running:
                _wake(future)
            else:
                with suppress(RuntimeError):  # the loop was closed: the wait has ended with it
                    loop.call_soon_threadsafe(_wake, future)

    async def wait(self, seen: int, timeout: float) -> None:
        """Return at the first notification after number `seen` (at once if it was sent), or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            if self.count != seen:
                return
            self._waiting[future] = loop
        timer = loop.call_later(timeout, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            with self._lock:
                self._waiting.pop(future, None)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
