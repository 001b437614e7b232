"""What the SQLite store is set to: the defaults are what ships; tests choose them small."""

from __future__ import annotations

from outlast.clients.sqlite.tuning import FileTuning

__all__ = ["Tuning"]


class Tuning(FileTuning, frozen=True, kw_only=True):
    """Waits in seconds, sizes in pages of 4 KiB."""

    idle: float = 5.0
    """Between two looks at what could be tidied up."""
    retention: float = 60.0
    """Between two applications of retention, whether the store is busy or not."""
    vacuum_pages: int = 1000
    """Free pages that are worth giving back, and the most given back in one transaction."""
