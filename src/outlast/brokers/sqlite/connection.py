"""Opening one Outlast file: what is safe, how it is made, migrated and tuned, and what SQLite's errors mean."""

from __future__ import annotations

import fcntl
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from outlast.brokers.sqlite.statements import SCHEMA, migrations
from outlast.core.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable, UnsafeStore
from outlast.core.message import Durability

__all__ = ["BUSY_DEADLINE", "boot_id", "durability_of", "open_connection", "open_file", "translated"]

APPLICATION_ID: Final = 0x4F75744C  # "OutL"
OLDEST_SQLITE: Final = 3_051_003
BUSY_DEADLINE: Final = 10.0
"""Seconds to wait for another process's transaction before StoreUnavailable."""

_REFUSED: Final = frozenset(
    {"nfs", "nfs4", "9p", "virtiofs", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "glusterfs"}
)
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


def open_connection(path: str) -> apsw.Connection:
    """Open `path`, which must exist, with every setting that safety and speed stand on."""
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX, statementcachesize=200)
    # Without QPSG SQLite prepares "limit ?" anew at every binding.
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    db.set_busy_handler(_BusyWait())
    for pragma in (
        "synchronous = full",
        "fullfsync = 1",
        "checkpoint_fullfsync = 1",
        "wal_autocheckpoint = 0",
        "journal_size_limit = 67108864",
        "cache_size = -32768",
        "temp_store = memory",
    ):
        db.pragma(*pragma.split(" = "))
    return db


class _BusyWait:
    """Wait for another connection's lock in steps of at most 2 ms (SQLite's own back-off sleeps up to 100 ms)."""

    def __init__(self) -> None:
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        now = time.monotonic()
        if tries == 0:
            self._since = now
        elif now - self._since > BUSY_DEADLINE:
            return False
        time.sleep(random.uniform(0.0001, min(0.002, 0.0002 * (tries + 1))))  # noqa: S311
        return True


def open_file(path: str) -> apsw.Connection:
    """Open the Outlast file at `path`, made or migrated as needed; any number of processes may do so at once.

    Raise UnsafeStore, StoreCorrupt (not ours, damaged, or from a newer version), StoreFull or StoreUnavailable.
    """
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise UnsafeStore(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a file that several processes share (the WAL-reset bug): "
            "install apsw>=3.51.3, which brings its own"
        )
    durability_of(path)  # refuses what can't be kept safely before a file is made
    with translated(path), _creation_lock(path):
        file = Path(path)
        if not file.exists():
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.close(descriptor)
        db = open_connection(path)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: apsw.Connection, path: str) -> None:
    version = int(db.pragma("user_version"))
    application = int(db.pragma("application_id"))
    if version == 0 and application == 0:
        if db.execute("select count(*) from sqlite_master").get:
            raise StoreCorrupt(f"{path} is an SQLite file of something else: give Outlast a file of its own")
        db.pragma("auto_vacuum", 2)
    elif application != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is an SQLite file of something else: give Outlast a file of its own")
    if str(db.pragma("journal_mode", "wal")) != "wal":
        raise UnsafeStore(f"{path}: this file system cannot hold SQLite's write-ahead log; use a local disk")
    if version > SCHEMA:
        oldest = int(db.execute("select oldest_code from store").get)
        if oldest > SCHEMA:
            raise StoreError(
                f"{path} has schema {version}, and needs code of schema {oldest} or newer; this one is {SCHEMA}: "
                "upgrade outlast here"
            )
        return
    for number, script in migrations().items():
        if number > version:
            with db:
                db.execute(script)
                db.pragma("application_id", APPLICATION_ID)
                db.pragma("user_version", number)


@contextmanager
def _creation_lock(path: str) -> Iterator[None]:
    """One process at a time makes or migrates the file: two that switch a fresh one to WAL at once fail or deadlock."""
    descriptor = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 3 * BUSY_DEADLINE
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
def translated(path: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into the errors of Outlast, each with its fix."""
    try:
        yield
    except apsw.Error as error:
        raise _translate(error, path) from error
    except OSError as error:
        raise _translate_os(error, path) from error


def _translate(error: apsw.Error, path: str) -> StoreError:
    kinds: tuple[tuple[type[apsw.Error], Callable[[], StoreError]], ...] = (
        (apsw.FullError, lambda: StoreFull(f"the disk under {path} is full: free some space; no accepted job is lost")),
        (
            apsw.BusyError,
            lambda: StoreUnavailable(
                f"{path} has been locked by another process for {BUSY_DEADLINE:.0f} s (a stopped process, a backup "
                f"tool, an open sqlite3 shell?): see who with: fuser {path}"
            ),
        ),
        (
            apsw.NotADBError,
            lambda: StoreCorrupt(f"{path} is not an SQLite file: point OUTLAST_URL elsewhere or move it away"),
        ),
        (
            apsw.CorruptError,
            lambda: StoreCorrupt(
                f"{path} is damaged ({error}): stop all processes, keep the file and its -wal, restore the newest "
                "backup, or recover what is there with the sqlite3 shell's .recover"
            ),
        ),
        (
            apsw.CantOpenError,
            lambda: StoreUnavailable(f"{path} cannot be opened: does its folder exist and may this user write there?"),
        ),
        (
            apsw.ReadOnlyError,
            lambda: StoreUnavailable(f"{path} is read-only: mount the folder writable, or change its owner"),
        ),
    )
    for kind, make in kinds:
        if isinstance(error, kind):
            return make()
    if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE:
        return StoreFull(f"{path} could not be written ({error}): is the disk or the quota full?")
    return StoreError(f"{path}: {type(error).__name__}: {error}")


def _translate_os(error: OSError, path: str) -> StoreError:
    if error.errno == 28:  # ENOSPC
        return StoreFull(f"the disk under {path} is full: free some space; no accepted job is lost")
    return StoreUnavailable(f"{path}: {error.strerror}: does its folder exist and may this user write there?")


def durability_of(path: str) -> Durability:
    """Return what the file system under `path` survives; raise UnsafeStore where SQLite's locks can't be trusted."""
    kind = _file_system(Path(path).absolute().parent)
    if kind in _REFUSED:
        raise UnsafeStore(
            f"{path} lies on {kind}, where SQLite's locks and shared memory are not safe: use a local disk, "
            "or a server store"
        )
    if kind in _VOLATILE:
        return "process-crash"
    return "unknown" if kind.startswith("fuse") else "os-crash"


def _file_system(folder: Path) -> str:
    """Return the file system's name from /proc/self/mountinfo (proc(5)); "" where there is none to read."""
    if not sys.platform.startswith("linux"):
        return ""
    best, kind = -1, ""
    target = folder.resolve()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
        for line in lines:
            before, _, after = line.partition(" - ")
            mount = before.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape")
            if target.is_relative_to(mount) and len(mount) >= best:
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
