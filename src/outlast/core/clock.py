"""What Outlast asks of a clock; the core has none of its own."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Two clocks: due times and records are wall time, leases and deadlines monotonic. Both in seconds."""

    def time(self) -> float:
        """Return wall time, seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return a time that never jumps; on one host the same for every process."""
        ...
