"""Lets a plain function compute in the thread of the caller that waits for it, as without the cache."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from outlast.aio.portal import portal

__all__ = ["CallersThread"]

T = TypeVar("T")


class CallersThread(Generic[T]):
    """One call from blocking code. function: what its thread runs, when the computation is asked for.

    No pool of threads computes: a cached function that calls another would wait for a thread that waits for it.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        self._works: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._left = False

    def wait(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `work()` returns, run on the portal's loop; raise WrongThread on a thread that runs a loop."""
        if asyncio._get_running_loop() is not None:
            return portal().run(work)  # which raises
        done: Future[T] = portal().submit(work)
        done.add_done_callback(lambda _: self._works.put(None))
        try:
            while (each := self._works.get()) is not None:
                each()
        except BaseException:  # an interrupt in the main thread
            done.cancel()
            raise
        finally:
            with self._lock:
                self._left = True
                while not self._works.empty():
                    if (each := self._works.get()) is not None:
                        _in_new_thread(each)
        return done.result()

    async def compute(self) -> T:
        """Return what the function returns, in the caller's thread while it waits, else in one of its own."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                value = self._context.copy().run(self._function)
            except BaseException as error:
                _tell(loop, _fail, answer, error)
                if not isinstance(error, Exception):
                    raise
            else:
                _tell(loop, _succeed, answer, value)

        with self._lock:
            if self._left:  # a refresh in the background, or a computation that others have joined
                _in_new_thread(work)
            else:
                self._works.put(work)
        return await answer


def _in_new_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="outlast-cache", daemon=True).start()


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: Any) -> None:
    with suppress(RuntimeError):  # the loop was closed: the process ends
        loop.call_soon_threadsafe(call, *args)


def _succeed(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        # A loop takes an interrupt for its own.
        answer.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
