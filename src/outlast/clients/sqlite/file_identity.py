"""Notices that the path of an open SQLite file leads to another file, or that its log was removed or replaced."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Final

import apsw

from outlast.clients.sqlite.connection import BUSY, SharedConnection, creation_lock, open_connection
from outlast.clients.sqlite.errors import translated
from outlast.core.errors import StoreMoved

__all__ = ["RESTART", "FileIdentity"]

logger = logging.getLogger("outlast.sqlite")

_SETTLED: Final = 100_000_000
"""Nanoseconds after which a folder has no more changes in the tick of its last one."""
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


RESTART: Final = "Restart it to use the file that is there; to bring a backup back: outlast restore BACKUP"


class FileIdentity:
    """The file that `path` led to when it was opened, with its log and index, each known by its inode.

    Once one of them is another file, or gone, every check raises StoreMoved, also when it is put back: it may have been
    used under another name. No process may write to it from then on, nor move pages between the file and the log. fix:
    what the error tells to do.
    """

    __slots__ = ("_fix", "_folder", "_given", "_index", "_log", "_taken", "_telling", "_unchanged", "moved", "path")

    def __init__(self, path: str, *, fix: str = RESTART) -> None:
        self._given = os.path.abspath(path)  # noqa: PTH100 - links stay, so that one that leads elsewhere is noticed
        self.path = os.path.realpath(path)
        """The name that SQLite uses: the log and the index are found by it."""
        self._log = f"{self.path}-wal"
        self._index = f"{self.path}-shm"
        self._folder = os.path.dirname(self.path) if self.path == self._given else ""  # noqa: PTH120
        """Empty where a link leads to the file: then what changes is not in this folder alone."""
        self._unchanged: tuple[int, int, int] | None = None
        """Time of change, inode and device of the folder when the files were last found in their place."""
        self._taken: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._telling = threading.Lock()
        self._fix = fix
        self.moved = ""
        """What has happened to the file; "" as long as it is in its place."""

    def take(self) -> None:
        """Take the files as they are now for those that are open; call it within the creation lock."""
        file, log, index = os.stat(self._given), os.stat(self._log), os.stat(self._index)  # noqa: PTH116
        self._taken = (file.st_ino, file.st_dev, log.st_ino, index.st_ino)
        self._unchanged = None
        self.moved = ""

    def check(self) -> None:
        """Raise StoreMoved when the files are not those that are open; call it after a commit, before its answer.

        Raise StoreUnavailable when that cannot be found out. Whatever moves, removes or replaces a file changes its
        folder: as long as that is as it was, one look is enough.
        """
        if not self.moved:
            folder: tuple[int, int, int] | None = None
            try:
                if self._folder:
                    found = os.stat(self._folder)  # noqa: PTH116
                    folder = (found.st_mtime_ns, found.st_ino, found.st_dev)
                    if folder == self._unchanged:
                        return
                file, log, index = os.stat(self._given), os.stat(self._log), os.stat(self._index)  # noqa: PTH116
            except OSError as error:
                if error.errno not in _GONE:
                    with translated(self.path):
                        raise
            else:
                if (file.st_ino, file.st_dev, log.st_ino, index.st_ino) == self._taken:
                    # The clock of a file system is coarse: another change in the same tick would leave the time as is.
                    if folder is not None and time_ns() - folder[0] > _SETTLED:
                        self._unchanged = folder
                    return
            with self._telling:
                if not self.moved:
                    self.moved = self._found()
                    logger.error("%s", self.moved)
        raise StoreMoved(self.moved)

    def is_moved(self) -> bool:
        """Return whether a check raises; for work in the background, which has no caller."""
        try:
            self.check()
        except StoreMoved:
            return True
        except Exception as error:
            logger.warning("%s", error)
        return False

    def _found(self) -> str:
        """Say what is not as it was, and what to do."""
        inode, device, log, index = self._taken
        what = f"{self._given} was away for a moment"
        for path, taken in ((self._given, inode), (self._log, log), (self._index, index)):
            now = _known(path)
            if now != (taken, device):
                what = f"{path} was {'moved or removed' if now is None else 'replaced by another file'}"
                break
        return (
            f"{what} while this process had it open: it uses neither file from now on, because what it writes would be "
            f"lost. {self._fix}"
        )

    @contextmanager
    def without_log(self) -> Iterator[bool]:
        """Yield whether the file is in its place and has no log; no other process makes one within the block."""
        with translated(self.path), creation_lock(self.path):
            inode, device, *_ = self._taken
            yield _known(self._given) == (inode, device) and _known(self._log) is None

    def connect(self, busy: float = BUSY) -> SharedConnection:
        """Return another connection to the same file and log; raise StoreMoved, StoreError."""
        with translated(self.path), creation_lock(self.path):
            self.check()
            db = open_connection(self.path, busy)
            try:
                db.pragma("user_version")  # SQLite opens the log at the first read
                self.check()
            except BaseException:
                self.close(db)
                raise
            return db

    def close(self, db: apsw.Connection) -> None:
        """Close a connection. When the file was moved, leave the log as it is: it may be of another file now."""
        if self.is_moved():
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.close()


def _known(path: str) -> tuple[int, int] | None:
    """Return inode and device of a file, None when there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_dev
