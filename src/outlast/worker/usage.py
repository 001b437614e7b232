"""What a run used: CPU seconds of its thread, and of a process of its own also the memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Awaitable, Coroutine, Generator
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

__all__ = ["WORTH_KEEPING", "Meter", "ProcessMeter"]

T = TypeVar("T")

WORTH_KEEPING: Final = 0.01
"""CPU seconds below which a run in a thread, or on the loop, leaves no record of them."""
_KIB: Final = 1024
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else _KIB


class Meter(Awaitable[T], Generic[T]):
    """A coroutine that is timed at each step that it makes; `used` is the CPU time so far, in seconds.

    It is awaited in the caller's own task, so that timeouts and cancellation are as without it. What it starts as tasks
    or threads of their own is not counted.
    """

    __slots__ = ("_coroutine", "used")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.used = 0.0

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, clock = self._coroutine, time.thread_time
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
            except BaseException as error:  # a cancellation, for the coroutine to deal with
                raised = error


class ProcessMeter:
    """Measures what this process uses from now on, with the children that it starts and waits for."""

    def __init__(self) -> None:
        self._exact = _forget_peak()
        self._began = _cpu()

    def cpu(self) -> float:
        """Return the CPU seconds so far."""
        return _cpu() - self._began

    def peak(self) -> int:
        """Return the most bytes of memory that it held: since now on Linux, elsewhere since the process began."""
        status = Path("/proc/self/status")
        if self._exact:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * _KIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _forget_peak() -> bool:
    """Let the kernel's count of the most memory held begin anew; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
