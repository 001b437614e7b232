"""Opening one Outlast file: what is safe, how it is made, migrated and tuned, and what SQLite's errors mean."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from outlast.brokers.sqlite.statements import migrations
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.durability import Durability
from outlast.core.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable, UnsafeStore

__all__ = [
    "BusyWait",
    "boot_id",
    "check_sqlite",
    "durability_of",
    "immediate",
    "open_connection",
    "open_file",
    "page_size",
    "translated",
]

APPLICATION_ID: Final = 0x4F75744C  # "OutL"
OLDEST_SQLITE: Final = 3_051_003
BUSY: Final = Tuning().busy
CREATION_WAIT: Final = 30.0
"""Seconds to wait for another process that makes or migrates the file."""
MOUNTS: Final = "/proc/self/mountinfo"

_REFUSED: Final = frozenset(
    {"nfs", "nfs4", "9p", "virtiofs", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "glusterfs"}
)
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


def open_connection(path: str, busy: float = BUSY) -> apsw.Connection:
    """Open `path`, which must exist, set for safety and speed. busy: seconds to wait for a lock."""
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX, statementcachesize=200)
    try:
        # Without QPSG SQLite prepares "limit ?" anew at every binding.
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        db.set_busy_handler(BusyWait(busy))
        for pragma in (
            "synchronous = full",
            "fullfsync = 1",
            "checkpoint_fullfsync = 1",
            "wal_autocheckpoint = 0",
            "journal_size_limit = 67108864",
            "cache_size = -32768",
            "temp_store = memory",
            # What is removed is overwritten where that costs no write of its own; a purge sees to the rest.
            "secure_delete = fast",
        ):
            db.pragma(*pragma.split(" = "))
    except BaseException:
        db.close()
        raise
    return db


class BusyWait:
    """Wait for another connection's lock in steps of at most 0.3 ms (SQLite's own back-off sleeps up to 100 ms)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        """Sleep a little and have SQLite try again, or return False: too long."""
        now = time.monotonic()
        if tries == 0:
            self._since = now
        elif now - self._since > self._seconds:
            return False
        time.sleep(random.uniform(0.0001, 0.0003))  # noqa: S311
        return True


def page_size(db: apsw.Connection) -> int:
    """Return the bytes of one page of the file."""
    return int(db.pragma("page_size"))


def check_sqlite(version: str) -> None:
    """Raise UnsafeStore for an SQLite that may corrupt the file."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    if major * 1_000_000 + minor * 1000 + patch < OLDEST_SQLITE:
        raise UnsafeStore(
            f"SQLite {version} can corrupt a file that several processes share (the WAL-reset bug): "
            "install apsw>=3.51.3, which brings its own"
        )


def open_file(path: str, tuning: Tuning, *, steps: Mapping[int, str] | None = None) -> apsw.Connection:
    """Open the Outlast file at `path`, made or migrated as needed; any number of processes may do so at once.

    steps: the migrations, by the schema number that each leads to. Raise UnsafeStore, StoreCorrupt (not ours, or
    damaged), StoreError (from a newer version), StoreFull or StoreUnavailable.
    """
    check_sqlite(apsw.sqlite_lib_version())
    durability_of(path)  # refuses what can't be kept safely before a file is made
    with translated(path), _creation_lock(path):
        file = Path(path)
        if not file.exists():
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.close(descriptor)
        db = open_connection(path, tuning.busy)
        try:
            _prepare(db, path, migrations() if steps is None else steps)
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: apsw.Connection, path: str, steps: Mapping[int, str]) -> None:
    version = int(db.pragma("user_version"))
    application = int(db.pragma("application_id"))
    if version == 0 and application == 0:
        if db.execute("select count(*) from sqlite_master").get:
            raise StoreCorrupt(f"{path} is an SQLite file of something else: give Outlast a file of its own")
        db.pragma("auto_vacuum", 2)
    elif application != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is an SQLite file of something else: give Outlast a file of its own")
    newest = max(steps)
    if version > newest:
        oldest = int(db.execute("select oldest_code from store").get)
        if oldest > newest:
            raise StoreError(
                f"{path} has schema {version}, and needs code of schema {oldest} or newer; this one is {newest}: "
                "upgrade outlast here"
            )
    if str(db.pragma("journal_mode", "wal")) != "wal":
        raise UnsafeStore(f"{path}: this file system cannot hold SQLite's write-ahead log; use a local disk")
    for number, script in steps.items():
        if number > version:
            with immediate(db):
                db.execute(script).fetchall()  # all of it: execute alone stops at the first row
                db.pragma("application_id", APPLICATION_ID)
                db.pragma("user_version", number)


@contextmanager
def _creation_lock(path: str) -> Iterator[None]:
    """One process at a time makes or migrates the file: two that switch a fresh one to WAL at once fail or deadlock."""
    descriptor = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + CREATION_WAIT
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"{path}-lock is held by another process that makes or migrates the file: see who with fuser"
                    ) from None
                time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def immediate(db: apsw.Connection) -> Iterator[None]:
    """Write in one step: all that the block does is there when it is left, or nothing of it."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def translated(path: str, db: apsw.Connection | None = None) -> Iterator[None]:
    """Turn what SQLite (on `db`) and the system raise into the errors of Outlast, each with its fix."""
    try:
        yield
    except apsw.Error as error:
        raise _translate(error, path, db) from error
    except OSError as error:
        if error.errno in _FULL:
            raise _full(path) from error
        raise StoreUnavailable(
            f"{path}: {error.strerror}: does its folder exist and may this user write there?"
        ) from error


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def _full(path: str) -> StoreFull:
    return StoreFull(f"the disk (or the quota) under {path} is full: free some space; no accepted job is lost")


_MEANINGS: Final[tuple[tuple[type[apsw.Error], type[StoreError], str], ...]] = (
    (
        apsw.BusyError,
        StoreUnavailable,
        "has been locked by another process for too long (a stopped process, a backup tool, an open sqlite3 shell?): "
        "see who with: fuser {path}",
    ),
    (apsw.NotADBError, StoreCorrupt, "is not an SQLite file: point OUTLAST_URL elsewhere or move it away"),
    (
        apsw.CorruptError,
        StoreCorrupt,
        "is damaged ({error}): stop all processes, keep the file and its -wal, restore the newest backup, or recover "
        "what is there with the sqlite3 shell's .recover",
    ),
    (apsw.CantOpenError, StoreUnavailable, "cannot be opened: does its folder exist and may this user write there?"),
    (apsw.ReadOnlyError, StoreUnavailable, "is read-only: mount the folder writable, or change its owner"),
)


def _translate(error: apsw.Error, path: str, db: apsw.Connection | None) -> StoreError:
    if isinstance(error, apsw.FullError):
        return _full(path)
    if isinstance(error, apsw.IOError):
        # The shared memory beside the file could not grow, or the quota (which SQLite does not tell from a bad disk).
        no_room = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
        if no_room or (db is not None and db.system_errno in _FULL):
            return _full(path)
    for kind, make, text in _MEANINGS:
        if isinstance(error, kind):
            return make(f"{path} {text.format(path=path, error=error)}")
    return StoreError(f"{path}: {type(error).__name__}: {error}")


def durability_of(path: str, mounts: str = MOUNTS) -> Durability:
    """Return what the file system under `path` survives; raise UnsafeStore where SQLite's locks can't be trusted.

    mounts: what the system has mounted, as /proc/self/mountinfo says it (proc(5)).
    """
    kind = _file_system(Path(path).resolve().parent, mounts)
    if kind in _REFUSED:
        raise UnsafeStore(
            f"{path} lies on {kind}, where SQLite's locks and shared memory are not safe: use a local disk, "
            "or a server store"
        )
    if kind in _VOLATILE:
        return "process-crash"
    return "unknown" if kind.startswith("fuse") else "os-crash"


def _file_system(folder: Path, mounts: str) -> str:
    """Return the name of the file system that `folder` lies on; "" on systems that do not tell."""
    if not sys.platform.startswith("linux"):
        return ""
    best, kind = -1, ""
    with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
        for line in lines:
            before, _, after = line.partition(" - ")
            # Blanks in a mount's path are written in octal: \040.
            mount = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
            if folder.is_relative_to(mount) and len(mount) >= best:
                best, kind = len(mount), after.split(" ", 1)[0]
    return kind


def boot_id() -> str:
    """Return a name for this boot of the host: leases of an earlier one are void."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        return linux.read_text().strip()
    import subprocess

    out = subprocess.run(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=True)
    return out.stdout.strip()
