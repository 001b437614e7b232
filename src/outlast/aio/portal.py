"""An event loop in a background thread for blocking code: one per process, started on first use."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

from outlast.core.errors import WrongThread

__all__ = ["Portal", "expect_short_loops", "has_short_loops", "portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines on a loop of its own while the caller's thread blocks. Thread-safe."""

    def __init__(self) -> None:
        # Reentrant, as that of `portal`: the collector may close a generator whose clean-up needs it, in any section.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The portal's loop, None while it is not running."""
        return self._loop

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work()` on the portal's loop and return its result; raise WrongThread on a thread that runs a loop.

        A caller that is interrupted (Ctrl-C) cancels it.
        """
        if asyncio._get_running_loop() is not None:
            raise WrongThread(
                "a blocking call on the thread of an event loop would stop every other task: use 'await ...enqueue()' "
                "or 'await ...publish()', or 'async with', there, or call it from a thread (asyncio.to_thread)"
            )
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # without effect on one that has ended; a lock that nothing would release must not be taken
            raise

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start `work()` on the portal's loop from any thread, also one that runs a loop; return its future at once."""
        loop = self._start()
        return asyncio.run_coroutine_threadsafe(work(), loop)

    async def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await `work()` on the portal's loop, from any loop; what it opens there stays when that loop ends."""
        loop = self._start()
        if loop is asyncio.get_running_loop():
            return await work()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), loop))

    async def visit(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await `work()` on the portal's loop, from another loop; do nothing while the portal is not running."""
        loop = self._loop
        if loop is not None and loop is not asyncio.get_running_loop():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), loop))

    def at_stop(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Have `closer()` awaited on the loop before it stops, once however often this is called with it."""
        if closer not in self._closers:
            self._closers.append(closer)

    def stop(self) -> None:
        """Call all closers, then end the loop and its thread. Do nothing when the portal is not running."""
        with self._lock:
            loop, thread = self._loop, self._thread
            if loop is None or thread is None:
                return
            closers, self._closers = self._closers, []
            with suppress(Exception):  # the process exits: no caller could handle it, and every store survives a kill
                asyncio.run_coroutine_threadsafe(_close_all(closers), loop).result(timeout=5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=5)
            if not thread.is_alive():
                loop.close()
            self._loop = self._thread = None

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                # Daemon: a thread that never ends must not keep the process alive; `stop` runs at exit.
                thread = threading.Thread(target=loop.run_forever, name="outlast-portal", daemon=True)
                try:
                    thread.start()
                except BaseException:  # such as at exit: the next caller would wait for a loop that never runs
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop


async def _close_all(closers: list[Callable[[], Awaitable[None]]]) -> None:
    for closer in closers:
        with suppress(Exception):
            await closer()


class _Process:
    """The portal of this process. A forked child makes a new one, because a fork does not copy threads."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.portal = Portal()
        _before_pools_end(self._stop)

    def _stop(self) -> None:
        if self.pid == os.getpid():
            self.portal.stop()


def _before_pools_end(stop: Callable[[], None]) -> None:
    """Have `stop` called at exit while thread pools still take work: a store may need one to close.

    Python ends the pools before it runs `atexit`. Functions that are registered here after the pools run before them.
    """
    import_module("concurrent.futures.thread")  # registers the end of the pools first
    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # the interpreter is already shutting down
        register(stop)


_short_loops = False


def expect_short_loops() -> None:
    """Tell that each run of this process has an event loop of its own: connections then belong to the portal's."""
    global _short_loops  # noqa: PLW0603 - one process, one answer
    _short_loops = True


def has_short_loops() -> bool:
    """Return whether `expect_short_loops` was called here."""
    return _short_loops


_guard = threading.RLock()
_current: _Process | None = None


def portal() -> Portal:
    """Return the portal of this process."""
    global _current  # noqa: PLW0603 - one per process
    with _guard:
        if _current is None or _current.pid != os.getpid():
            _current = _Process()
        return _current.portal


def _renew_guard() -> None:
    """A fork copies the lock that another thread may hold, and not that thread."""
    global _guard  # noqa: PLW0603 - one per process
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)
