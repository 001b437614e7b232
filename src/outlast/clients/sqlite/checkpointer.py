"""Moves the write-ahead log into the file in a second thread: no operation waits for it, and the log stays bounded."""

from __future__ import annotations

import logging
import os
import threading
from time import monotonic
from typing import Final

import apsw

from outlast.clients.sqlite.connection import SharedConnection
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.tuning import FileTuning
from outlast.core.errors import StoreError, StoreMoved

__all__ = ["Checkpointer"]

logger = logging.getLogger("outlast.sqlite")

PATIENCE: Final = 0.05
"""Seconds that the writer, and with it every operation, waits for readers and other processes to restart the log."""


class Checkpointer:
    """A thread with its own connection. The writer thread calls `look` after each commit, `idle` when it has no work.

    No method raises: pages that could not be moved stay safe in the log, and the next checkpoint tries again. Nothing
    is moved once the file of `identity` or its log is not in its place: the log that is there may be of another file.
    """

    def __init__(self, identity: FileIdentity, writer: SharedConnection, tuning: FileTuning) -> None:
        self._identity = identity
        self._path = identity.path
        self._writer = writer
        self._tuning = tuning
        self._pages = 0
        self._moved = 0
        self._restart_at = tuning.log_limit
        self._page = int(writer.pragma("page_size"))
        self._wanted = threading.Event()
        self._closed = False
        self._warned_at = -60.0
        writer.set_wal_hook(self._committed)
        self._thread = threading.Thread(target=self._work, name="outlast-sqlite-checkpoint", daemon=True)
        self._thread.start()

    def _committed(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def look(self) -> None:
        """Start a checkpoint in the other thread when the log has grown."""
        pages = self._pages
        if pages < self._moved:
            self._moved = 0
            self._restart_at = self._tuning.log_limit
        if pages - self._moved >= self._tuning.log_pages:
            self._moved = pages
            self._wanted.set()
        if pages >= self._restart_at and not self._restart(apsw.SQLITE_CHECKPOINT_RESTART):
            # A backup or a long read holds the log: do not try again at every commit.
            self._restart_at = pages + self._tuning.log_pages

    def idle(self, *, empty: bool) -> bool:
        """Empty the log's file when it is large or `empty` is true; return whether nothing is left to do."""
        try:
            size = os.stat(f"{self._path}-wal").st_size  # noqa: PTH116
        except OSError:
            return True
        if empty or size > self._tuning.log_kept * self._page:
            return self._restart(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return True

    def make_room(self) -> bool:
        """Restart the log, so that its space can be written again on a full disk; return whether that succeeded."""
        return self._pages > 0 and self._restart(apsw.SQLITE_CHECKPOINT_RESTART)

    def rescue(self) -> None:
        """Move the pages of a log that was removed into the file, unless a process has made a new log since."""
        try:
            with self._identity.without_log() as lost:
                if lost:
                    self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
        except (apsw.Error, StoreError) as error:
            self._warn("moved after it was removed", error)

    def _warn(self, what: str, error: Exception) -> None:
        """Log a failed checkpoint, once a minute at most: on a full disk every commit fails so."""
        now = monotonic()
        if now >= self._warned_at + 60:
            self._warned_at = now
            logger.warning("%s: the write-ahead log could not be %s, trying again: %s", self._path, what, error)

    def _restart(self, mode: int) -> bool:
        if self._identity.is_moved():
            return False
        self._writer.waiting.seconds = PATIENCE
        try:
            self._writer.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            return False
        except apsw.Error as error:
            self._warn("restarted", error)
            return False
        finally:
            self._writer.waiting.seconds = self._tuning.busy
        self._pages = self._moved = 0
        self._restart_at = self._tuning.log_limit
        return True

    def _work(self) -> None:
        db: apsw.Connection | None = None
        try:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                if self._closed:
                    return
                try:
                    db = db or self._identity.connect(self._tuning.busy)
                    self._identity.check()
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                except apsw.BusyError:
                    continue  # another process runs a checkpoint
                except StoreMoved:
                    continue  # the next call is told
                except (apsw.Error, StoreError) as error:
                    self._warn("moved", error)
        finally:
            if db is not None:
                self._identity.close(db)

    def close(self) -> None:
        """Stop the thread and wait for its end."""
        self._closed = True
        self._wanted.set()
        self._thread.join()
