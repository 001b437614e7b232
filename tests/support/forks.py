"""Run a check in a forked process."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["in_fork"]


def in_fork(work: Callable[[], bool]) -> bool:
    """Return what `work()` returns in a fork of this process; False if it raises."""
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = work()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(child, 0)[1] == 0
