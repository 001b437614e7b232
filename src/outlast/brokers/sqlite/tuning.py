"""What the SQLite store is set to: the defaults are what ships; tests choose them small."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Tuning"]


class Tuning(Struct, frozen=True, kw_only=True):
    """Waits in seconds, sizes in pages of 4 KiB."""

    busy: float = 10.0
    """The longest wait for another process's transaction, before StoreUnavailable."""
    idle: float = 5.0
    """Between two looks at what could be tidied up."""
    retention: float = 60.0
    """Between two applications of retention, whether the store is busy or not."""
    log_pages: int = 1000
    """Pages written to the log (4 MB) from which they are moved into the file in the background."""
    log_limit: int = 4000
    """Pages in the log (16 MB) at which the writer itself moves them and starts the log anew: writers that never pause
    let a background checkpoint finish, but never reset the log."""
    log_kept: int = 256
    """Pages (1 MB) that the log's file may keep at rest: emptying it each time costs syncs."""
    vacuum_pages: int = 1000
    """Free pages that are worth giving back, and the most given back in one transaction."""
