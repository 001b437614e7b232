"""The embedded store: one SQLite file, shared by every process of a host."""

from outlast.brokers.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
