"""A loop of its own in a background thread, for code that blocks: one for each process, started on first use."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, TypeVar

from outlast.core.errors import WrongThread

__all__ = ["Portal", "portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines on its own loop while the caller's thread blocks. Safe from any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Its loop, None while it is not running."""
        return self._loop

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `work()` returns, run on the portal's loop; raise WrongThread on a thread that runs a loop."""
        if asyncio._get_running_loop() is not None:
            raise WrongThread(
                "a blocking call on the event loop's own thread would stop every other task: use 'await ...enqueue()' "
                "there, or call it from a thread (asyncio.to_thread)"
            )
        return asyncio.run_coroutine_threadsafe(work(), self._start()).result()

    async def visit(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await `work()` on the portal's loop, from another loop; nothing happens while it is not running."""
        loop = self._loop
        if loop is not None and loop is not asyncio.get_running_loop():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), loop))

    def at_stop(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await `closer()` on the loop before it stops."""
        self._closers.append(closer)

    def stop(self) -> None:
        """End the loop and its thread, having closed what was opened on it. Does nothing when it is not running."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None:
                return
            closers, self._closers = self._closers, []
            with suppress(Exception):  # at exit there is nobody left to tell, and every store survives a kill anyway
                asyncio.run_coroutine_threadsafe(_close_all(closers), loop).result(timeout=5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=5)
            if not thread.is_alive():
                loop.close()
            self._loop = self._thread = None

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # Daemon: a thread that waits for ever must not keep the interpreter from ending; `stop` runs at exit.
                self._thread = threading.Thread(target=self._loop.run_forever, name="outlast-portal", daemon=True)
                self._thread.start()
            return self._loop


async def _close_all(closers: list[Callable[[], Awaitable[None]]]) -> None:
    for closer in closers:
        with suppress(Exception):
            await closer()


class _Process:
    """The portal of this process; a forked child gets one of its own, for a thread does not cross a fork."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.portal = Portal()
        _before_pools_end(self._stop)

    def _stop(self) -> None:
        if self.pid == os.getpid():
            self.portal.stop()


def _before_pools_end(stop: Callable[[], None]) -> None:
    """Call `stop` at exit while thread pools still take work: a store needs one to close, and ends with none left.

    Python ends the pools before it runs `atexit`; what is registered here, later than they are, runs before that.
    """
    import_module("concurrent.futures.thread")  # registers the end of the pools
    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # the interpreter is ending already
        register(stop)


_guard: Final = threading.Lock()
_current: _Process | None = None


def portal() -> Portal:
    """Return this process's portal."""
    global _current  # noqa: PLW0603 - one for each process, by its nature
    with _guard:
        if _current is None or _current.pid != os.getpid():
            _current = _Process()
        return _current.portal
