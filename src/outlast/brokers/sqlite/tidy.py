"""Tidies the file between two batches of the writer: applies retention, shortens the file and its log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from outlast.brokers.sqlite.repair import jobs_damaged, keys_damaged, repair
from outlast.brokers.sqlite.retention import prune
from outlast.brokers.sqlite.transaction import Transaction
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.checkpointer import Checkpointer
from outlast.clients.sqlite.connection import immediate
from outlast.core.limits import nanos

__all__ = ["Tidier"]

logger = logging.getLogger("outlast.sqlite")

AT_REST: Final = 2.0
"""Transactions a second up to which the store counts as at rest: an idle worker still renews its lease."""
KEYS: Final = 1000
"""Keys that one step checks: about 2 ms."""
JOBS: Final = 1000
"""Jobs that one step checks while the store is at rest: a few ms. A million of them take more than an hour."""
PAUSE: Final = 0.02
"""Seconds between two chunks of retention while others wait to write: it keeps up with 25,000 ended jobs a second."""
LAST: Final = 2.0
"""Seconds that a close may spend on erasing purged jobs; the next process that opens the file erases the rest."""


class Tidier:
    """Tidies the file in short steps, from `next_at` (monotonic seconds) on; never raises.

    Retention continues under load, or a store that is always busy would never forget a job. The other work waits until
    the store is at rest: free pages are used again.
    """

    def __init__(self, tx: Transaction, path: str, checkpointer: Checkpointer, tuning: Tuning) -> None:
        self._tx = tx
        self._path = path
        self._checkpointer = checkpointer
        self._tuning = tuning
        self._looked = monotonic()
        self._retain_at = self._looked + tuning.retention
        self._key_row: int | None = None
        """The row up to which keys were checked, None when all were."""
        self._job_row = 0
        """The row up to which jobs were checked; after the last one it begins again."""
        self.wrote = 0
        """Transactions since the last `look`."""
        self.next_at = self._looked + tuning.idle

    def look(self, free: Callable[[], bool]) -> None:
        """Do one step of the work, and more steps while `free()` returns true: no operation waits."""
        now = monotonic()
        at_rest = self.wrote <= AT_REST * (now - self._looked) + 1
        self._looked = now
        self.wrote = 0
        pause = self._tuning.idle
        try:
            if now >= self._retain_at:
                if self._retain(free):
                    pause = PAUSE
                    return
                self._retain_at = now + self._tuning.retention
                self._key_row = 0
            purges = self._tx.one("to_erase")
            if purges and not self._erase(purges, free):
                pause = PAUSE
            elif at_rest and not purges:
                shorter = self._shorten(free)
                # The file itself gets shorter only when the log is moved into it, even a short one.
                self._checkpointer.idle(empty=shorter)
                self._check_jobs()
                if self._key_row is not None and not self._forget_keys(self._key_row, free):
                    pause = PAUSE
        except Exception as error:
            if not self._repair():
                logger.warning("%s: retention and cleaning failed, trying again later: %s", self._path, error)
        finally:
            self.next_at = monotonic() + pause

    def _repair(self) -> bool:
        """Repair damaged rows; return whether there were any."""
        try:
            with immediate(self._tx.db):
                self._tx.begin()
                return repair(self._tx) > 0
        except Exception as error:
            logger.warning("%s: its rows could not be checked: %s", self._path, error)
            return False

    def close(self) -> None:
        """Erase purged jobs from free pages: no other process may be left to do so."""
        until = monotonic() + LAST
        try:
            purges = self._tx.one("to_erase")
            if purges:
                self._erase(purges, lambda: monotonic() < until)
        except Exception as error:
            logger.warning("%s: purged jobs are not erased from free pages yet, trying later: %s", self._path, error)

    def _erase(self, purges: int, free: Callable[[], bool]) -> bool:
        """Remove every free page: rows longer than a page leave copies there each time that they move.

        Return whether it is done. While others read from the log, its pages wait for the next step.
        """
        while not self._vacuum():
            self._checkpointer.look()
            if not free():
                return False
        if self._checkpointer.idle(empty=True):
            self._tx.run("erased", (purges,))
        return True

    def _vacuum(self) -> bool:
        """Remove a chunk of free pages; return whether none was left in that transaction."""
        db = self._tx.db
        with immediate(db):
            db.execute(f"pragma incremental_vacuum({self._tuning.vacuum_pages})").fetchall()
            left = int(db.pragma("freelist_count"))
        return left == 0

    def _retain(self, free: Callable[[], bool]) -> bool:
        """Apply retention; return whether more remains."""
        tx = self._tx
        tx.begin()
        more = any(
            tx.one("any_over", (queue.number, tx.now, queue.results_kept)) for queue in map(tx.queue, tx.names())
        )
        while more:
            with immediate(tx.db):
                tx.begin()
                _, more = prune(tx)
                tx.write_counts()
            self._checkpointer.look()
            if not free():
                break
        return more

    def _forget_keys(self, after: int, free: Callable[[], bool]) -> bool:
        """Delete the rows of keys without jobs and without a rate to remember, in chunks; return whether it is done."""
        tx = self._tx
        while True:
            upto = tx.one("lanes_next", (after, KEYS))
            if upto is None:
                self._key_row = None
                return True
            if keys_damaged(tx.db, after, upto):  # its jobs may wait for ever, and no call fails
                self._repair()
            tx.begin()
            chunk = (after, upto, nanos(tx.now))
            if tx.one("lanes_over", chunk):
                tx.run("lanes_forget", chunk)  # a transaction of its own
                self._checkpointer.look()
            self._key_row = after = upto
            if not free():
                return False

    def _check_jobs(self) -> None:
        """Repair the next jobs if a value is damaged: one of an unknown state or queue fails no call, but counts."""
        upto = self._tx.one("jobs_next", (self._job_row, JOBS))
        if upto is not None and jobs_damaged(self._tx.db, self._job_row, upto):
            self._repair()
        self._job_row = upto or 0

    def _shorten(self, free: Callable[[], bool]) -> bool:
        """Remove free pages from the end of the file; return whether there were any."""
        db = self._tx.db
        shorter = False
        while free() and int(db.pragma("freelist_count")) > self._tuning.vacuum_pages:
            db.execute(f"pragma incremental_vacuum({self._tuning.vacuum_pages})").fetchall()
            self._checkpointer.look()
            shorter = True
        return shorter
