"""Runs one job after another in one process, each as if it were the first: cleans up, or tells what is left."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, NoReturn, TypeVar

from outlast.worker.isolation.leftovers import Leftovers
from outlast.worker.isolation.process_state import ProcessState
from outlast.worker.isolation.run_loop import RunLoop

__all__ = ["CleanRuns"]

T = TypeVar("T")
RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]


class CleanRuns:
    """Make it when the app is imported, before the first run. torn: as of `apart`."""

    def __init__(self, torn: Callable[[str], NoReturn]) -> None:
        self._torn = torn
        self._leftovers = Leftovers()
        self._state = ProcessState()

    def call(self, run: Callable[[RunCoroutine], T]) -> tuple[T, str]:
        """Call `run` with a function that runs a coroutine; return its value, and what is left of it in the process."""
        loop = RunLoop(self._torn)
        with ExitStack() as stack:
            value = contextvars.copy_context().run(self._call, run, loop, stack)
        return value, loop.left or self._leftovers.found() or self._state.restore()

    def _call(self, run: Callable[[RunCoroutine], T], loop: RunLoop, stack: ExitStack) -> T:
        self._state.prepare(stack)
        return run(loop.run)
