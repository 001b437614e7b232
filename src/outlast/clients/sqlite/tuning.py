"""What a shared SQLite file is set to: the defaults are what ships; tests choose them small."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["FileTuning"]


class FileTuning(Struct, frozen=True, kw_only=True):
    """Waits in seconds, sizes in pages of 4 KiB."""

    busy: float = 10.0
    """The longest wait for another process's transaction, before StoreUnavailable."""
    log_pages: int = 1000
    """Pages written to the log (4 MB) from which they are moved into the file in the background."""
    log_limit: int = 4000
    """Pages in the log (16 MB) at which the writer itself moves them and starts the log anew: writers that never pause
    let a background checkpoint finish, but never reset the log."""
    log_kept: int = 256
    """Pages (1 MB) that the log's file may keep at rest: emptying it each time costs syncs."""
