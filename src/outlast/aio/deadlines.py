"""Deadlines for many short calls of one event loop with one timer for all; `asyncio.timeout` makes one per call."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

__all__ = ["Deadlines", "Within"]


class Deadlines:
    """`with deadlines.within(seconds):` around an await, for tasks of one event loop at a time.

    The block is cancelled when its time is over, and then raises TimeoutError. Any other cancellation is passed on.
    """

    __slots__ = ("_at", "_calls", "_loop", "_timer")

    def __init__(self) -> None:
        self._calls: set[Within] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def within(self, seconds: float) -> Within:
        """Return a context manager that bounds its block to `seconds` from now."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        if loop is not self._loop:  # a timer of a loop that has ended would never fire
            self._loop, self._timer = loop, None
        due = loop.time() + seconds
        if self._timer is None or due < self._at:
            self._set(due)
        return Within(self._calls, task, due)

    def _check(self) -> None:
        """Cancel the overdue calls, and set the timer for the next one."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for call in sorted((call for call in self._calls if call.due <= now), key=lambda call: call.due):
            call.expire()
        if self._calls:
            self._set(min(call.due for call in self._calls))

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = due
        self._timer = asyncio.get_running_loop().call_at(due, self._check)


class Within:
    """One bounded block. timed_out: whether it has raised TimeoutError because its time was over."""

    __slots__ = ("_before", "_calls", "_over", "_task", "due", "timed_out")

    def __init__(self, calls: set[Within], task: asyncio.Task[Any], due: float) -> None:
        self._calls = calls
        self._task = task
        self._before = task.cancelling()
        self._over = False
        self.due = due
        self.timed_out = False

    def __enter__(self) -> None:
        self._calls.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.discard(self)
        if self._over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            self.timed_out = True
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the block."""
        self._calls.discard(self)
        self._over = True
        self._task.cancel()
