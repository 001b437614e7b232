"""Finds what a run left working in its process: threads, child processes, descriptors."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

__all__ = ["DESCRIPTORS", "Leftovers"]

DESCRIPTORS: Final = 64
"""Descriptors that the runs of one process may leave open: of a connection that a module keeps, not of a leak."""
OWN: Final = "outlast-"
"""How the names of Outlast's threads begin: a store that is open for the whole process has such."""
_ENDING: Final = 0.1
"""Seconds for threads and child processes that have been told to end."""


class Leftovers:
    """Compares the threads, child processes and descriptors of this process with those when this was made."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._children = _children()
        self._descriptor = _lowest_descriptor()

    def found(self) -> str:
        """Return what is left of a run, "" for nothing."""
        if threading.active_count() > len(self._threads) and (left := self._threads_left()):
            return f"the thread {left[0].name!r}"
        if _has_children() and self._children_left():
            return "a child process"
        if _lowest_descriptor() > self._descriptor + DESCRIPTORS:
            return "open files"
        return ""

    def _threads_left(self) -> list[threading.Thread]:
        ends = monotonic() + _ENDING
        left = [each for each in threading.enumerate() if each not in self._threads and not each.name.startswith(OWN)]
        for each in left:
            with suppress(RuntimeError):  # a thread that Python did not start
                each.join(max(0.0, ends - monotonic()))
        return [each for each in left if each.is_alive()]

    def _children_left(self) -> bool:
        ends = monotonic() + _ENDING
        while left := _children() - self._children - {_tracker()}:
            if monotonic() > ends:
                return True
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)  # no one else waits for it: the run is over
            sleep(0.005)
        return False


def _has_children() -> bool:
    """Tell whether this process has child processes; True where that cannot be told at once."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _tracker() -> int | None:
    """Return the id of the process with which `multiprocessing` tracks semaphores; it does no work of a run."""
    module: Any = sys.modules.get("multiprocessing.resource_tracker")
    return None if module is None else getattr(module._resource_tracker, "_pid", None)


def _children() -> set[int]:
    """Return the ids of the child processes, on Linux; elsewhere none."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # its thread has ended
            found.update(map(int, path.read_text().split()))
    return found


def _lowest_descriptor() -> int:
    """Return the lowest free descriptor: it grows with those that are left open."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number
