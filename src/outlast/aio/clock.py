"""The system's clocks."""

from __future__ import annotations

from time import CLOCK_MONOTONIC, clock_gettime
from time import time as wall_time

__all__ = ["SystemClock"]


class SystemClock:
    """Wall time, and a monotonic time that every process of this host shares until the next boot."""

    def time(self) -> float:
        """Return wall time, seconds since 1970."""
        return wall_time()  # bound at the import: a job may replace `time.time`, and the worker would see no due job

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return clock_gettime(CLOCK_MONOTONIC)
