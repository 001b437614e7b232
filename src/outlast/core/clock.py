"""The protocol of a clock; the core has no clock of its own."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Two clocks, both in seconds: wall time for due times and records, monotonic time for leases and deadlines."""

    def time(self) -> float:
        """Return wall time, seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return a time that never jumps; all processes of one host share it."""
        ...
