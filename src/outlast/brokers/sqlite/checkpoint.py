"""Moving the write-ahead log into the file beside the writers: no job waits for it, and the log stays bounded."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Final

import apsw

from outlast.brokers.sqlite.connection import open_connection

__all__ = ["Checkpointer"]

logger = logging.getLogger("outlast.sqlite")

PAGES: Final = 1000
"""Pages in the log (4 MB) from which they are moved in the background."""
TOO_MANY: Final = 16_000
"""Pages (64 MB) at which the writer itself moves them and starts the log anew: writers that never pause let a
background checkpoint finish, but never reset the log."""


class Checkpointer:
    """A thread with its own connection. The writer calls `look` after each commit, `idle` when it has no work."""

    def __init__(self, path: str, writer: apsw.Connection) -> None:
        self._path = path
        self._writer = writer
        self._pages = 0
        self._moved = 0
        self._wanted = threading.Event()
        self._closed = False
        writer.set_wal_hook(self._committed)
        self._thread = threading.Thread(target=self._work, name="outlast-sqlite-checkpoint", daemon=True)
        self._thread.start()

    def _committed(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def look(self) -> None:
        """Have the log moved when it has grown."""
        pages = self._pages
        if pages < self._moved:
            self._moved = 0
        if pages >= TOO_MANY:
            with contextlib.suppress(apsw.BusyError):
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        elif pages - self._moved >= PAGES:
            self._wanted.set()

    def idle(self) -> None:
        """Empty the log's file when nobody writes."""
        if self._pages:
            with contextlib.suppress(apsw.BusyError):
                self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._pages = self._moved = 0

    def _work(self) -> None:
        db = open_connection(self._path)
        try:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                if self._closed:
                    return
                self._moved = self._pages
                try:
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                except apsw.BusyError:
                    continue  # another process is at it
                except apsw.Error as error:
                    logger.warning("%s: the write-ahead log could not be moved, trying again: %s", self._path, error)
        finally:
            db.close()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        self._thread.join()
