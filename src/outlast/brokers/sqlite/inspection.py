"""Examines an Outlast file and its file system for `outlast doctor`, and changes nothing."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from outlast.brokers.sqlite.repair import damaged_jobs
from outlast.brokers.sqlite.statements import APPLICATION_ID, statements
from outlast.brokers.sqlite.unreadable import fetch_named
from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_system import boot_id, durability_of
from outlast.clients.sqlite.log_owner import wrong_log
from outlast.clients.sqlite.runtime_folder import refusal_of, runtime_folder
from outlast.core.clock import Clock
from outlast.core.durability import Durability
from outlast.core.errors import StoreCorrupt, UnsafeStore
from outlast.core.space import Space

DAMAGED: Final = 5
"""The most damaged jobs that are named."""

__all__ = ["Contents", "Site", "examine", "look_around", "space_of", "sqlite_version", "waiting_kinds"]


class Site(Struct, frozen=True, kw_only=True):
    """The file and its file system. Sizes in bytes; mode is that of stat(2)."""

    path: str
    exists: bool
    unsafe: str = ""
    """Why the file system is not safe for the file."""
    durability: Durability = "unknown"
    log_size: int = 0
    """Of the write-ahead log."""
    free: int = 0
    mode: int = 0
    foreign: tuple[str, ...] = ()
    """Files beside it that belong to another user."""
    writable: bool = False
    """This user may write the file and its folder."""
    wrong_log: str = ""
    """Why the log is not to be read with the file."""
    sockets: str = ""
    """Why the folder of its sockets is not used."""


class Contents(Struct, frozen=True, kw_only=True):
    """The contents of the file. stale: (label, jobs) of dead holders whose jobs wait for a claim."""

    journal_mode: str
    schema: int
    faults: tuple[str, ...] = ()
    """The findings of SQLite's quick check."""
    newest: float | None = None
    """The latest acceptance of the newest job and of those that wait for their time."""
    stale: tuple[tuple[str, int], ...] = ()
    damaged: tuple[str, ...] = ()
    """Ids of some jobs with values of wrong types; searched for only with the check of all pages."""


def sqlite_version() -> str:
    """Return the version of the SQLite inside apsw."""
    return apsw.sqlite_lib_version()


def look_around(path: str) -> Site:
    """Return the facts that are found without opening the file."""
    file = Path(path)
    folder = next(each for each in (file.parent, *file.parents) if each.exists())
    unsafe = ""
    durability: Durability = "unknown"
    try:
        durability = durability_of(path)
    except UnsafeStore as error:
        unsafe = str(error)
    free = shutil.disk_usage(folder).free
    if not file.is_file():
        return Site(path=path, exists=False, unsafe=unsafe, durability=durability, free=free)
    status = file.stat()
    beside = [file.with_name(file.name + suffix) for suffix in ("-wal", "-shm", "-lock")]
    log = beside[0]
    return Site(
        path=path,
        exists=True,
        unsafe=unsafe,
        durability=durability,
        log_size=log.stat().st_size if log.exists() else 0,
        free=free,
        mode=status.st_mode,
        foreign=tuple(each.name for each in beside if each.exists() and each.stat().st_uid != status.st_uid),
        writable=os.access(file, os.W_OK) and os.access(file.parent, os.W_OK),
        wrong_log=wrong_log(os.path.realpath(path)),
        sockets=refusal_of(runtime_folder(os.path.realpath(path))),
    )


def space_of(path: str) -> Space | None:
    """Return the bytes of the file with its log, and these with what is free on its disk; None without a file."""
    file = Path(path)
    try:
        used = file.stat().st_size
        free = shutil.disk_usage(file.parent).free
    except OSError:
        return None
    with suppress(OSError):  # there is no log before the first write
        used += file.with_name(f"{file.name}-wal").stat().st_size
    return Space(used, used + free)


def examine(path: str, clock: Clock, *, whole: bool = True) -> Contents:
    """Open the file, read, and close it. whole: SQLite also checks every page, which reads all of the file.

    Raise StoreCorrupt for a file of another program, StoreError for one that cannot be opened.
    """
    with _reading(path) as db:
        if int(db.pragma("application_id")) != APPLICATION_ID:
            raise StoreCorrupt(f"{path} is not an Outlast file: name another one with OUTLAST_URL or --url")
        faults = [str(row[0]) for row in db.execute("pragma quick_check(10)")] if whole else ["ok"]
        sql = statements()
        return Contents(
            journal_mode=str(db.pragma("journal_mode")),
            schema=int(db.pragma("user_version")),
            faults=() if faults == ["ok"] else tuple(faults),
            newest=db.execute(sql["newest"]).get,
            stale=tuple(sorted(_stale(db, clock).items())),
            damaged=tuple(damaged_jobs(db, DAMAGED)) if whole else (),
        )


def _stale(db: apsw.Connection, clock: Clock) -> Counter[str]:
    """Count the jobs of dead holders by the label of the holder, its id where it has none."""
    found = Counter[str]()
    for label, holder, jobs in fetch_named(db, "stale_holders", (boot_id(), clock.monotonic())):
        found[str(label or holder)] += int(jobs)
    return found


def waiting_kinds(path: str) -> dict[tuple[str, str], int]:
    """Count the unfinished jobs by (queue, kind); this reads every unfinished job. Raise StoreError."""
    with _reading(path) as db:
        rows = fetch_named(db, "unfinished_kinds", ())
        return {(str(queue), str(kind)): int(number) for queue, kind, number in rows}


@contextmanager
def _reading(path: str) -> Iterator[apsw.Connection]:
    """Open the file for reads only; closing leaves even its write-ahead log as it was."""
    with translated(path):
        db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.set_busy_timeout(10_000)
            db.pragma("query_only", 1)
            yield db
        finally:
            db.close()
