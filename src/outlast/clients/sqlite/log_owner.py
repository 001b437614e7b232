"""Keeps a file apart from the write-ahead log of another file that had its path before.

SQLite finds a log by its name alone. If a file is moved away, or another one is moved over it, while its log stays, the
next process would apply the log to the wrong file. So the lock file says to which file the log belongs.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from time import gmtime, strftime
from typing import Final, Literal
from urllib.parse import quote

import apsw
import msgspec

from outlast.core.errors import StoreCorrupt

__all__ = ["ID_QUERY", "LogOwner", "check_log", "free_name", "inode_of", "note_owner", "owner_noted", "wrong_log"]

logger = logging.getLogger("outlast.sqlite")

ID_QUERY: Final = "select id from file"
"""Reads the random id that the schema gives a file; a schema without that table has no id."""


class LogOwner(msgspec.Struct, frozen=True):
    """The content of the lock file: `id` and inode of the file, and the inode of its log."""

    id: str = ""
    file: int = 0
    log: int = 0


def owner_noted(lock: int) -> LogOwner:
    """Return the content of the open lock file; empty when code without this check made it."""
    try:
        return msgspec.json.decode(os.pread(lock, 4096, 0), type=LogOwner)
    except msgspec.MsgspecError:
        return LogOwner()


def check_log(lock: int, path: str) -> None:
    """Put the log beside `path` aside when it is of another file; call it before the file is opened.

    The caller holds the creation lock. Raise StoreCorrupt when the file was overwritten in place under its log.
    """
    match _log_state(owner_noted(lock), path):
        case "none":  # an index without its log would be of a log that was removed
            Path(f"{path}-shm").unlink(missing_ok=True)
        case "foreign":
            _put_log_aside(path)
        case "overwritten":
            raise StoreCorrupt(
                f"{path} was overwritten in place, and the log beside it holds changes of what it was before: stop all "
                "processes, then restore with: outlast restore BACKUP"
            )


def wrong_log(path: str) -> str:
    """Return what is wrong with the log beside `path`, "" if nothing is; change nothing."""
    try:
        lock = os.open(f"{path}-lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        state = _log_state(owner_noted(lock), path)
    finally:
        os.close(lock)
    if state == "foreign":
        return "the file took the place of another one, whose log is still beside it"
    return "the file was overwritten in place under its log" if state == "overwritten" else ""


def _log_state(noted: LogOwner, path: str) -> Literal["none", "own", "foreign", "overwritten"]:
    log, file = inode_of(f"{path}-wal"), inode_of(path)
    if not log:
        return "none"
    if not file or os.stat(path).st_size == 0:  # noqa: PTH116 - SQLite would delete the log
        return "foreign"
    if log != noted.log:  # made since, or copied together with the file
        return "own"
    if file != noted.file:
        return "foreign"
    return "own" if not noted.id or _id_of(path) in (noted.id, None) else "overwritten"


def _put_log_aside(path: str) -> None:
    """Rename the log of a file that is gone, so that it can still be read with that file; remove its index."""
    kept = free_name(path)
    Path(f"{path}-wal").rename(f"{kept}-wal")
    Path(f"{path}-shm").unlink(missing_ok=True)
    logger.warning(
        "%s-wal was the log of another file, which was moved or replaced while it was in use: it is kept as %s-wal, "
        "and SQLite reads it when that file is renamed to %s",
        path,
        kept,
        kept,
    )


def free_name(path: str) -> str:
    """Return a name beside `path` that no file has: for what is kept aside."""
    name = f"{path}.replaced-{strftime('%Y%m%dT%H%M%SZ', gmtime())}"
    number, free = 1, name
    while any(os.path.lexists(f"{free}{suffix}") for suffix in ("", "-wal", "-shm")):
        number += 1
        free = f"{name}-{number}"
    return free


def note_owner(lock: int, path: str) -> None:
    """Write to the lock file that the log beside `path` belongs to the file there."""
    noted, file, log = owner_noted(lock), inode_of(path), inode_of(f"{path}-wal")
    if noted.id and (noted.file, noted.log) == (file, log):
        return
    now = LogOwner(_id_of(path) or "", file, log)
    if now != noted:
        text = msgspec.json.encode(now)
        try:
            os.pwrite(lock, text, 0)
        except OSError:  # a full disk, which must not keep a worker from its jobs: no text is better than an old one
            text = b""
        os.ftruncate(lock, len(text))
        if (now.id, now.file) != (noted.id, noted.file):
            os.fsync(lock)  # after a crash of the host an old text would put the log of this file aside


def inode_of(path: str) -> int:
    """Return the inode of a file, 0 when there is none."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_ino  # noqa: PTH116
    return 0


def _id_of(path: str) -> str | None:
    """Return the id in the file itself, without its log; "" when it has none, None when it cannot be read."""
    try:
        # Immutable: no lock is taken, the log is not read. It is a connection of SQLite all the same: closing another
        # descriptor of a file that is open here would release its locks.
        db = apsw.Connection(f"file:{quote(path)}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            return str(db.execute(ID_QUERY).get or "")
        finally:
            db.close()
    except apsw.SQLError:
        return ""
    except apsw.Error:
        return None
