"""The system's clocks."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]


class SystemClock:
    """Wall time, and a monotonic time that every process of this host shares until the next boot."""

    def time(self) -> float:
        """Return wall time, seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)
