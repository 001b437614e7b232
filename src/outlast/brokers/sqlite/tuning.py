"""Tuning of the SQLite store: users get the defaults; tests set small values."""

from __future__ import annotations

from outlast.clients.sqlite.tuning import FileTuning

__all__ = ["Tuning"]


class Tuning(FileTuning, frozen=True, kw_only=True):
    """Waits in seconds, sizes in pages of 4 KiB."""

    idle: float = 5.0
    """Between two steps of the tidier."""
    retention: float = 60.0
    """Between two applications of retention, whether the store is busy or not."""
    vacuum_pages: int = 1000
    """Free pages from which the file is shortened, and the most that one transaction removes."""
