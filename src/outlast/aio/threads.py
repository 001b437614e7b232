"""A fixed number of daemon threads that run plain functions for event loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any

from outlast.aio.signals import forked, leave_fork

__all__ = ["Threads"]

_Answer = Callable[[Any, BaseException | None], None]
_Work = tuple[Context, Callable[[], Any], _Answer, asyncio.AbstractEventLoop]


class Threads:
    """Run functions in at most `size` threads, which are started when they are needed.

    The threads are daemons: a function that never returns occupies its thread, but does not keep the process alive. The
    caller counts slots; work beyond `size` waits in a queue.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], Any], answer: _Answer) -> None:
        """Run `call` in a thread with a copy of the caller's context; `answer(value, error)` is called on this loop.

        Call it on a loop. If the loop is closed before the answer, the answer is dropped.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._busy >= len(self._threads) and len(self._threads) < self._size:
                thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
                thread.start()  # may raise: then nothing has changed
                self._threads.append(thread)
            self._busy += 1
        self._work.put((copy_context(), call, answer, loop))

    def close(self) -> None:
        """End the idle threads; a busy thread ends when its function returns."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            context, call, answer, loop = work
            value: Any = None
            error: BaseException | None = None
            try:
                value = context.run(call)
            except BaseException as raised:  # a SystemExit is an answer too, and must not end the thread
                error = raised
            if forked():
                leave_fork(error)
            with self._lock:
                self._busy -= 1
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for the answer
                loop.call_soon_threadsafe(answer, value, error)
            del work, context, call, answer, value, error, loop  # keep no reference to a job while idle
