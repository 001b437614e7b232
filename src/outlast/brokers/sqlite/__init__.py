"""The SQLite store: one file, shared by all processes of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.brokers.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]


def __getattr__(name: str) -> object:
    """Import the store on first use: its kind needs only the core."""
    if name != "SqliteStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlast.brokers.sqlite.store import SqliteStore

    return SqliteStore
