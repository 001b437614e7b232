"""Tuning of a shared SQLite file: users get the defaults; tests set small values."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["FileTuning"]


class FileTuning(Struct, frozen=True, kw_only=True):
    """Waits in seconds, sizes in pages of 4 KiB."""

    busy: float = 10.0
    """The longest wait for another process's transaction, before StoreUnavailable."""
    log_pages: int = 1000
    """Pages written to the log (4 MB) after which a background checkpoint moves them into the file."""
    log_limit: int = 4000
    """Pages in the log (16 MB) at which the writer itself moves them and restarts the log: while writers never pause,
    a background checkpoint can finish, but cannot reset the log."""
    log_kept: int = 256
    """Pages (1 MB) that the log's file may keep at rest: emptying it each time costs syncs."""
