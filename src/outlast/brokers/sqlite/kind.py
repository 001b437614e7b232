"""Defines the SQLite kind of store: `sqlite:PATH`, one file on a local disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from outlast.brokers.kind import Inspection, StoreKind
from outlast.clients.sqlite.file_url import sqlite_path
from outlast.core.clock import Clock
from outlast.core.errors import StoreCorrupt, StoreMissing, StoreUnavailable, UnsafeStore
from outlast.core.findings import Finding
from outlast.core.space import Space
from outlast.core.store.store import Store

__all__ = ["SqliteKind"]

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

    async def space(self, store: Store) -> Space | None:
        """Return the bytes of the file and its log, and those with what is free on its disk."""
        from outlast.brokers.sqlite.inspection import space_of

        return await asyncio.to_thread(space_of, self.identity(store.url))

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
