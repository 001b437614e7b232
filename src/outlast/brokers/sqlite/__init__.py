"""The embedded store: one SQLite file, shared by every process of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.brokers.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]


def __getattr__(name: str) -> object:
    """Load the store on first use: what its kind says of it needs no more than the core."""
    if name != "SqliteStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlast.brokers.sqlite.store import SqliteStore

    return SqliteStore
