"""What a process uses, memory and CPU time: set before each reading, in each process that shows or shares metrics."""

from __future__ import annotations

import os
from time import process_time
from typing import Final

from outlast.aio.children import resident_bytes
from outlast.meters.meters import meters

__all__ = ["show_process_use"]

_RESIDENT: Final = meters.gauge(
    "outlast_process_resident_bytes", "Resident memory of the processes, the supervisor too."
)
_CPU_SECONDS: Final = meters.counter(
    "outlast_process_cpu_seconds_total", "CPU seconds of the processes, the supervisor too."
)

_told: Final[dict[int, float]] = {}
"""CPU seconds counted so far, by the pid of this process: one that was forked begins at 0 again."""


def show_process_use() -> None:
    """Show what this process uses, once, whichever of its parts ask for it."""
    if not _told:  # a process that was forked from one that shows it has both
        _told[os.getpid()] = 0.0
        meters.before_reading(_set)


def _set() -> None:
    pid, spent = os.getpid(), process_time()
    _RESIDENT.of().set(resident_bytes(pid))
    _CPU_SECONDS.of().add(max(0.0, spent - _told.get(pid, 0.0)))
    _told.clear()
    _told[pid] = spent
