"""A bounded number of calls at a time, across event loops and threads, with a bounded and fair line of waiters."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from outlast.core.errors import BulkheadFull
from outlast.core.guards.policies import Bulkhead

__all__ = ["Permits"]


class _Waiter:
    """A caller in line. granted: it has a permit. wake: tells it so, or raises RuntimeError: its loop is closed."""

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.granted = False


class Permits:
    """The permits of one bulkhead. Every method may be called from any thread.

    A permit is handed from the call that ends to the first in the line, so that no newcomer passes a waiter.
    """

    def __init__(self, name: str, policy: Bulkhead) -> None:
        self.policy: Final = policy
        self.refused = 0
        """The calls that got no permit."""
        self._name = name
        self._lock = (
            threading.RLock()
        )  # reentrant: the collector may close a generator, with a block in it, inside any call
        self._taken = 0
        self._line: OrderedDict[_Waiter, None] = OrderedDict()  # a cancelled waiter leaves it without a search

    @property
    def taken(self) -> int:
        """The permits in use."""
        return self._taken

    @property
    def waiting(self) -> int:
        """The callers in the line."""
        return len(self._line)

    def take(self) -> bool:
        """Take a permit if one is free and no one waits for it."""
        with self._lock:
            if self._taken < self.policy.concurrency and not self._line:
                self._taken += 1
                return True
            return False

    def give_back(self) -> None:
        """Give a permit to the first in the line, or back to the free ones."""
        with self._lock:
            if self._line:
                self._pass_on()
            else:
                self._taken -= 1

    async def wait(self, at_most: float | None) -> None:
        """Take a permit, waiting in the line: at most `policy.max_wait`, and `at_most` seconds; raise BulkheadFull."""
        loop = asyncio.get_running_loop()
        thread = threading.get_ident()
        answer: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not answer.done():
                answer.set_result(None)

        def wake() -> None:
            if threading.get_ident() == thread:
                tell()
            else:
                loop.call_soon_threadsafe(tell)

        limit = self._limit(at_most)
        waiter = self._queue(wake, limit)
        if waiter is None:
            return
        timer = loop.call_later(limit, tell)
        try:
            await answer
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            timer.cancel()
        if not self._keep(waiter):
            raise self._full("max_wait")

    def wait_blocking(self, at_most: float | None) -> None:
        """Take a permit as `wait` does, and block the calling thread meanwhile."""
        ready = threading.Lock()  # not a semaphore: that has a lock in Python, which the collector may interrupt
        ready.acquire()
        limit = self._limit(at_most)
        waiter = self._queue(ready.release, limit)
        if waiter is None:
            return
        try:
            ready.acquire(timeout=limit)
        except BaseException:  # an interrupt in the main thread
            self._leave(waiter)
            raise
        if not self._keep(waiter):
            raise self._full("max_wait")

    def _limit(self, at_most: float | None) -> float:
        return self.policy.max_wait if at_most is None else min(self.policy.max_wait, at_most)

    def _queue(self, wake: Callable[[], object], limit: float) -> _Waiter | None:
        """Join the line; return None when a permit was free."""
        with self._lock:
            if self._taken < self.policy.concurrency and not self._line:
                self._taken += 1
                return None
            if limit > 0 and len(self._line) < self.policy.max_waiting:
                waiter = _Waiter(wake)
                self._line[waiter] = None
                return waiter
        raise self._full("max_wait" if limit <= 0 else "max_waiting")

    def _keep(self, waiter: _Waiter) -> bool:
        """Return whether the waiter has a permit; one that has none leaves the line."""
        with self._lock:
            if not waiter.granted:
                self._line.pop(waiter, None)
            return waiter.granted

    def _leave(self, waiter: _Waiter) -> None:
        """Leave the line; a permit that was granted meanwhile goes to the next."""
        with self._lock:
            if waiter.granted:
                self._pass_on()
            else:
                self._line.pop(waiter, None)

    def _pass_on(self) -> None:
        while self._line:
            waiter, _ = self._line.popitem(last=False)
            waiter.granted = True
            try:
                waiter.wake()
            except RuntimeError:  # its event loop is closed: no one is there to use the permit
                waiter.granted = False
                continue
            return
        self._taken -= 1

    def _full(self, bound: str) -> BulkheadFull:
        self.refused += 1
        return BulkheadFull(self._name, self.policy.concurrency, bound)
