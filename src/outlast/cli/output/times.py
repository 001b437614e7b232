"""Times of day in this machine's zone."""

from __future__ import annotations

from datetime import datetime

from outlast.core.text import when

__all__ = ["local_time"]


def local_time(at: float | None, now: float) -> str:
    """Return a wall time in this machine's time zone, and as seen from now."""
    if at is None:
        return ""
    return f"{datetime.fromtimestamp(at).astimezone().isoformat(' ', 'milliseconds')}  ({when(at, now)})"
