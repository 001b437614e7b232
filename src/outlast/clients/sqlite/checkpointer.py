"""Moves the write-ahead log into the file beside the writers: no operation waits for it, and the log stays bounded."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Final

import apsw

from outlast.clients.sqlite.connection import BusyWait, open_connection, page_size
from outlast.clients.sqlite.tuning import FileTuning

__all__ = ["Checkpointer"]

logger = logging.getLogger("outlast.sqlite")

PATIENCE: Final = 0.05
"""Seconds that the writer waits for readers and other processes to restart the log; all operations wait with it."""


class Checkpointer:
    """A thread with its own connection. The writer's thread calls `look` after each commit, `idle` when it rests.

    None of it raises: what could not be moved now stays safe in the log, and is tried again.
    """

    def __init__(self, path: str, writer: apsw.Connection, tuning: FileTuning) -> None:
        self._path = path
        self._writer = writer
        self._tuning = tuning
        self._pages = 0
        self._moved = 0
        self._restart_at = tuning.log_limit
        self._page = page_size(writer)
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
        """Have the log moved when it has grown."""
        pages = self._pages
        if pages < self._moved:
            self._moved = 0
            self._restart_at = self._tuning.log_limit
        if pages - self._moved >= self._tuning.log_pages:
            self._moved = pages
            self._wanted.set()
        if pages >= self._restart_at and not self._restart(apsw.SQLITE_CHECKPOINT_RESTART):
            # A backup or a long look holds the log: not with every commit again.
            self._restart_at = pages + self._tuning.log_pages

    def idle(self, *, empty: bool) -> bool:
        """Empty the log's file, if it is not small, or `empty` asks for it; tell whether nothing is left to be done."""
        try:
            size = os.stat(f"{self._path}-wal").st_size  # noqa: PTH116
        except OSError:
            return True
        if empty or size > self._tuning.log_kept * self._page:
            return self._restart(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return True

    def make_room(self) -> bool:
        """On a full disk: restart the log, so that its own space can be written again; tell whether that worked."""
        return self._pages > 0 and self._restart(apsw.SQLITE_CHECKPOINT_RESTART)

    def _warn(self, what: str, error: apsw.Error) -> None:
        """Log it once a minute at most: on a full disk it happens with every commit."""
        now = time.monotonic()
        if now >= self._warned_at + 60:
            self._warned_at = now
            logger.warning("%s: the write-ahead log could not be %s, trying again: %s", self._path, what, error)

    def _restart(self, mode: int) -> bool:
        self._writer.set_busy_handler(BusyWait(PATIENCE))
        try:
            self._writer.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            return False
        except apsw.Error as error:
            self._warn("restarted", error)
            return False
        finally:
            self._writer.set_busy_handler(BusyWait(self._tuning.busy))
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
                    db = db or open_connection(self._path, self._tuning.busy)
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                except apsw.BusyError:
                    continue  # another process is at it
                except apsw.Error as error:
                    self._warn("moved", error)
        finally:
            if db is not None:
                db.close()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        self._thread.join()
