"""Measures the resources of a run: CPU seconds of its thread, and of a child process also the memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Awaitable, Coroutine, Generator
from pathlib import Path
from time import thread_time
from typing import Any, Final, Generic, TypeVar

__all__ = ["WORTH_KEEPING", "Meter", "ProcessMeter"]

T = TypeVar("T")

WORTH_KEEPING: Final = 0.01
"""A run in a thread or on the event loop that used fewer CPU seconds has no record of them."""
_KIB: Final = 1024
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else _KIB


class Meter(Awaitable[T], Generic[T]):
    """Runs a coroutine and times each of its steps. used: CPU seconds so far.

    It runs in the caller's own task, so timeouts and cancellation work as without it. Tasks and threads that the
    coroutine starts are not counted.
    """

    __slots__ = ("_coroutine", "used")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.used = 0.0

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, clock = self._coroutine, thread_time
        sent: Any = None
        raised: BaseException | None = None
        while True:
            began = clock()
            try:
                step = coroutine.send(sent) if raised is None else coroutine.throw(raised)
            except StopIteration as end:
                value: T = end.value
                return value
            finally:
                self.used += clock() - began
            sent = raised = None
            try:
                sent = yield step
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # a cancellation, which the coroutine handles
                raised = error


class ProcessMeter:
    """Measures this process from now on, with the child processes that it starts and waits for."""

    def __init__(self) -> None:
        self._exact = _reset_peak()
        self._began = _cpu()

    def cpu(self) -> float:
        """Return the CPU seconds so far."""
        return _cpu() - self._began

    def peak(self) -> int:
        """Return the peak of its memory in bytes: since now on Linux, elsewhere since the start of the process."""
        status = Path("/proc/self/status")
        if self._exact:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * _KIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _reset_peak() -> bool:
    """Reset the kernel's peak of the memory; return False where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
