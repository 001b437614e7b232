"""Translates errors of SQLite and of the system into errors of Outlast that name the fix."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

import apsw

from outlast.core.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable

__all__ = ["translated"]


class translated:  # noqa: N801 - used as a function; one with contextlib costs a cached read a fifth of its time
    """Turn errors that SQLite (on `db`) and the system raise into errors of Outlast, each with its fix."""

    __slots__ = ("_db", "_path")

    def __init__(self, path: str, db: apsw.Connection | None = None) -> None:
        self._path = path
        self._db = db

    def __enter__(self) -> None:
        """Do nothing: only the end of the block matters."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, apsw.Error):
            raise _translate(error, self._path, self._db) from error
        if isinstance(error, OSError):
            raise _translate_of_system(error, self._path) from error


def _translate_of_system(error: OSError, path: str) -> StoreError:
    if error.errno in _FULL:
        return _full(path)
    if error.errno == errno.ELOOP:
        return StoreUnavailable(
            f"{error.filename or path} is a symbolic link, where a file is made: remove it if it is not yours"
        )
    return StoreUnavailable(f"{path}: {error.strerror}: does its folder exist and may this user write there?")


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def _full(path: str) -> StoreFull:
    return StoreFull(f"the disk (or the quota) of {path} is full: free some space; no accepted job is lost")


_MEANINGS: Final[tuple[tuple[type[apsw.Error], type[StoreError], str], ...]] = (
    (
        apsw.BusyError,
        StoreUnavailable,
        "has been locked by another process for too long (a stopped process, a backup tool, an open sqlite3 shell?): "
        "find it with: fuser {path}",
    ),
    (apsw.NotADBError, StoreCorrupt, "is not an SQLite file: point OUTLAST_URL elsewhere or move it away"),
    (
        apsw.CorruptError,
        StoreCorrupt,
        "is damaged ({error}): stop all processes, keep the file and its -wal, restore the newest backup, or recover "
        "its content with the sqlite3 shell's .recover",
    ),
    (apsw.CantOpenError, StoreUnavailable, "cannot be opened: does its folder exist and may this user write there?"),
    (apsw.ReadOnlyError, StoreUnavailable, "is read-only: mount the folder writable, or change its owner"),
)


def _translate(error: apsw.Error, path: str, db: apsw.Connection | None) -> StoreError:
    if isinstance(error, apsw.FullError):
        return _full(path)
    if isinstance(error, apsw.IOError):
        # The shared memory file could not grow, or the quota is used up (SQLite reports both as an I/O error).
        no_room = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
        if no_room or (db is not None and db.system_errno in _FULL):
            return _full(path)
    for kind, make, text in _MEANINGS:
        if isinstance(error, kind):
            return make(f"{path} {text.format(path=path, error=error)}")
    return StoreError(f"{path}: {type(error).__name__}: {error}")
