"""Run a check in a forked process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

__all__ = ["held", "in_fork"]


PATIENCE = 60.0
"""Seconds after which a child counts as one that waits for ever."""


def in_fork(work: Callable[[], bool]) -> bool:
    """Return what `work()` returns in a fork of this process; False if it raises, or does not end.

    It runs in the thread that forked: a new one may have the identity of a thread that holds a lock in the parent.
    """
    child = os.fork()
    if child == 0:
        late = threading.Timer(PATIENCE, os._exit, [1])
        late.daemon = True
        late.start()
        good = False
        try:
            good = work()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(child, 0)[1] == 0


def held(lock: AbstractContextManager[object], release: threading.Event) -> threading.Thread:
    """Return a thread that holds a lock until `release`."""
    holds = threading.Event()

    def hold() -> None:
        with lock:
            holds.set()
            release.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    holds.wait()
    return thread
