"""Defines the SQLite kind of store: `sqlite:PATH`, one file on a local disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from outlast.brokers.kind import Inspection, StoreKind
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreCorrupt, StoreMissing, StoreUnavailable, UnsafeStore
from outlast.core.findings import Finding
from outlast.core.store.store import Store
from outlast.core.text import is_utf8
from outlast.core.urls import redact_url

__all__ = ["SqliteKind", "sqlite_path"]

_MAGIC: Final = b"SQLite format 3\0"


class SqliteKind(StoreKind):
    """Jobs in one file, shared by the processes of a host."""

    schemes = ("sqlite",)
    example = "sqlite:PATH"

    def connect(self, url: str, *, clock: Clock, max_body: int) -> Store:
        """Return the store in the file that `url` names."""
        from outlast.brokers.sqlite.store import SqliteStore

        return Store.of(SqliteStore(sqlite_path(url), clock=clock, max_body=max_body), url)

    def library(self) -> Finding:
        """Check the version of the SQLite inside apsw."""
        from outlast.brokers.sqlite.inspection import sqlite_version
        from outlast.clients.sqlite.connection import check_sqlite

        try:
            check_sqlite(sqlite_version())
        except UnsafeStore as error:
            return Finding("sqlite", "error", str(error), "pip install --upgrade apsw")
        return Finding("sqlite", "ok", f"{sqlite_version()} (of apsw)")

    def file(self, url: str) -> Path:
        """Return the absolute path of the file."""
        return Path(os.path.abspath(sqlite_path(url)))  # noqa: PTH100 - symbolic links stay as they are

    def shown(self, url: str) -> str:
        """Return the file's path."""
        return str(self.file(url))

    def identity(self, url: str) -> str:
        """Return the path without symbolic links."""
        return os.path.realpath(self.file(url))

    def check_present(self, url: str, *, why: str, hint: str) -> None:
        """Raise StoreMissing for a missing or empty file, StoreCorrupt for one that is not an SQLite file."""
        file = self.file(url)
        if not file.is_file() or file.stat().st_size == 0:
            raise StoreMissing(
                f"no store at {file} ({why}): nothing was enqueued there yet, or the path is wrong: {hint}"
            )
        try:
            with file.open("rb") as opened:
                magic = opened.read(len(_MAGIC))
        except OSError as error:
            raise StoreUnavailable(f"{file} cannot be read ({error.strerror}): run as its owner") from error
        if magic != _MAGIC:
            raise StoreCorrupt(f"{file} ({why}) is not an SQLite file: name another one with --url or OUTLAST_URL")

    async def inspect(self, url: str, *, why: str, pages: bool, spool: bool) -> Inspection:
        """Examine the file system, then the file."""
        from outlast.aio.clock import SystemClock
        from outlast.brokers.sqlite.findings import inspect

        return await asyncio.to_thread(inspect, str(self.file(url)), SystemClock(), why=why, pages=pages)

    async def waiting_kinds(self, url: str, clock: Clock, queues: Iterable[str]) -> dict[tuple[str, str], int]:
        """Count the unfinished jobs by (queue, kind)."""
        from outlast.brokers.sqlite.inspection import waiting_kinds

        return await asyncio.to_thread(waiting_kinds, str(self.file(url)))

    async def backup(self, store: Store, target: Path) -> None:
        """Write a compact copy while the store is in use."""
        from outlast.brokers.sqlite.store import SqliteStore

        assert isinstance(store.broker, SqliteStore)
        await store.broker.backup(str(target))

    async def restore(self, url: str, backup: Path) -> Path | None:
        """Replace the file; the replaced one is kept beside it, with its log."""
        from outlast.brokers.sqlite.copies import restore_store

        aside = await asyncio.to_thread(restore_store, str(backup), self.identity(url))
        return Path(aside) if aside else None


def sqlite_path(url: str) -> str:
    """Return the file that a URL names; raise ConfigurationError when it names none.

    "sqlite:jobs.db" and "sqlite:dir/jobs.db" are relative to the working directory; "sqlite:/srv/jobs.db" and
    "sqlite:///srv/jobs.db" are absolute.
    """
    path = url.removeprefix("sqlite:")
    if path.startswith("//"):
        if not path.startswith("///"):
            raise ConfigurationError(
                f"url={redact_url(url)!r}: 'sqlite://' takes no host; give 'sqlite:relative.db' or 'sqlite:///absolute.db'"
            )
        path = path[2:]
    if path == ":memory:":
        raise ConfigurationError(f"url={redact_url(url)!r}: to keep jobs in memory, for tests, use 'memory:'")
    if not path or path.endswith("/"):
        raise ConfigurationError(f"url={redact_url(url)!r}: name a file, such as 'sqlite:outlast.db'")
    if "\0" in path or not is_utf8(path):
        raise ConfigurationError(
            f"url={redact_url(url)!r}: SQLite opens no path with NUL or with bytes that are not UTF-8: name another one"
        )
    return path
