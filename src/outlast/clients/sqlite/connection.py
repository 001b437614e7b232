"""Opens an SQLite file that several processes share: checks it, creates or migrates it, and sets its pragmas."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Literal

import apsw

from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_system import durability_of
from outlast.clients.sqlite.log_owner import check_log, inode_of, note_owner
from outlast.clients.sqlite.tuning import FileTuning
from outlast.core.errors import StoreCorrupt, StoreError, StoreUnavailable, UnsafeStore

if TYPE_CHECKING:
    from outlast.clients.sqlite.file_identity import FileIdentity

__all__ = [
    "SharedConnection",
    "check_sqlite",
    "creation_lock",
    "immediate",
    "open_connection",
    "open_file",
    "sleep_shortly",
]

OLDEST_SQLITE: Final = 3_051_003
BUSY: Final = FileTuning().busy
CREATION_WAIT: Final = 30.0
"""Seconds to wait for another process that creates or migrates the file."""


def open_connection(path: str, busy: float = BUSY, synchronous: Literal["full", "normal"] = "full") -> SharedConnection:
    """Open `path`, which must exist, with the pragmas for safety and speed. busy: seconds to wait for a lock.

    synchronous: "full" syncs each commit to the disk; with "normal" a crash of the host may undo the last commits.
    """
    db = SharedConnection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX, statementcachesize=200)
    try:
        # Without QPSG SQLite prepares "limit ?" again at every binding.
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        db.waiting = BusyWait(busy)
        db.set_busy_handler(db.waiting)
        for pragma in (
            f"synchronous = {synchronous}",
            "fullfsync = 1",
            "checkpoint_fullfsync = 1",
            "wal_autocheckpoint = 0",
            "journal_size_limit = 67108864",
            "cache_size = -32768",
            "temp_store = memory",
            # Overwrite deleted content where that needs no extra write; a purge overwrites the rest.
            "secure_delete = fast",
        ):
            db.pragma(*pragma.split(" = "))
    except BaseException:
        db.close()
        raise
    return db


def sleep_shortly() -> None:
    """Sleep at most 0.3 ms: two processes that wait must not look at the same moments."""
    sleep(random.uniform(0.0001, 0.0003))  # noqa: S311


class BusyWait:
    """Waits for another connection's lock in short steps (SQLite's own back-off sleeps up to 100 ms).

    seconds: until SQLite gives up. pause: one step; what it does decides when this connection tries again.
    """

    __slots__ = ("_since", "pause", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.pause: Callable[[], None] = sleep_shortly
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        """Pause and return True, so that SQLite tries again; return False after `seconds`."""
        now = monotonic()
        if tries == 0:
            self._since = now
        elif now - self._since > self.seconds:
            return False
        self.pause()
        return True


class SharedConnection(apsw.Connection):
    """A connection to a file that several processes write. waiting: how it waits for the others."""

    waiting: BusyWait


def check_sqlite(version: str) -> None:
    """Raise UnsafeStore for a version of SQLite that may corrupt the file."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    if major * 1_000_000 + minor * 1000 + patch < OLDEST_SQLITE:
        raise UnsafeStore(
            f"SQLite {version} can corrupt a file that several processes share (the WAL-reset bug): "
            "install apsw>=3.51.3, which contains a newer one"
        )


def open_file(
    path: str,
    *,
    application_id: int,
    migrations: Mapping[int, str],
    oldest_code: str | None = None,
    synchronous: Literal["full", "normal"] = "full",
    busy: float = BUSY,
    identity: FileIdentity | None = None,
) -> SharedConnection:
    """Open the file at `path`, created or migrated as needed; any number of processes may call this at once.

    application_id: marks the file as one of its kind. migrations: scripts by the schema number that each leads to, in
    order. oldest_code: a query for the oldest schema number whose code may use a file that is newer than `migrations`;
    without it every newer file is refused. synchronous, busy: as for `open_connection`. identity: takes the file that
    was opened. Raise UnsafeStore, StoreCorrupt (another kind of file, damaged, or overwritten under its log),
    StoreError (from a newer version), StoreFull or StoreUnavailable.
    """
    check_sqlite(apsw.sqlite_lib_version())
    durability_of(path)  # raises for an unsafe file system before a file is created
    with translated(path), creation_lock(path) as lock:
        check_log(lock, path)
        if not Path(path).exists():  # closing another descriptor of an open file would release its SQLite locks
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        db = open_connection(path, busy, synchronous)
        try:
            version = _check(db, path, application_id, max(migrations), oldest_code)
            if str(db.pragma("journal_mode", "wal")) != "wal":
                raise UnsafeStore(f"{path}: this file system cannot hold SQLite's write-ahead log; use a local disk")
            for number, script in migrations.items():
                if number > version:
                    with immediate(db):
                        db.execute(script).fetchall()  # without fetchall the script stops at its first row
                        db.pragma("application_id", application_id)
                        db.pragma("user_version", number)
            if version < max(migrations):
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # the id must be in the file, not in its log
            db.pragma("user_version")  # a file that just got its log has none yet: the first read makes it
            note_owner(lock, path)
            if identity is not None:
                identity.take()
        except BaseException:
            db.close()
            raise
    return db


def _check(db: apsw.Connection, path: str, application_id: int, newest: int, oldest_code: str | None) -> int:
    """Return the file's schema number, 0 for a new one; raise for a file that this code must not change."""
    version = int(db.pragma("user_version"))
    application = int(db.pragma("application_id"))
    fresh = version == 0 and application == 0
    if db.execute("select count(*) from sqlite_master").get if fresh else application != application_id:
        raise StoreCorrupt(
            f"{path} is an SQLite file of another kind, or of another program: give Outlast a file of its own"
        )
    if fresh:
        db.pragma("auto_vacuum", 2)
    if version > newest:
        oldest = version if oldest_code is None else int(db.execute(oldest_code).get)
        if oldest > newest:
            raise StoreError(
                f"{path} has schema {version}, which needs code of schema {oldest} or newer, not {newest}: "
                "upgrade outlast here"
            )
    return version


@contextmanager
def creation_lock(path: str) -> Iterator[int]:
    """Hold the lock to create, migrate, open or replace the file; yield the descriptor of the lock file.

    Two processes that switch a new file to WAL fail or deadlock. One that opens the file between two renames of a
    restore would take the log of the other file. Raise StoreUnavailable when another process holds it for too long.
    """
    deadline = monotonic() + CREATION_WAIT
    while True:
        descriptor = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while not _locked(descriptor):
                if monotonic() > deadline:
                    raise StoreUnavailable(
                        f"{path}-lock is held by another process that creates or migrates the file: find it with fuser"
                    )
                sleep(0.002)
            # If the lock file was removed in the meantime, another process may hold the lock of a new one.
            if inode_of(f"{path}-lock") == os.fstat(descriptor).st_ino:
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def immediate(db: apsw.Connection) -> Iterator[None]:
    """Run the block in one write transaction: commit at its end, roll back when it raises."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
