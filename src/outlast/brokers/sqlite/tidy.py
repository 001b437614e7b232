"""What the writer's thread does between two batches: retention, a shorter file, a shorter log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from outlast.brokers.sqlite.retention import prune
from outlast.brokers.sqlite.transaction import Transaction
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.checkpointer import Checkpointer
from outlast.clients.sqlite.connection import immediate
from outlast.core.limits import nanos

__all__ = ["Tidier"]

logger = logging.getLogger("outlast.sqlite")

AT_REST: Final = 2.0
"""Transactions a second up to which the store counts as at rest: an idle worker renews its lease."""
KEYS: Final = 1000
"""Keys that are looked at in one step: about 2 ms."""
PAUSE: Final = 0.02
"""Seconds between two chunks of retention while others wait to write: it keeps up with 25,000 ended jobs a second."""
LAST: Final = 2.0
"""Seconds that a close goes on with what a purge has left; what is left then is seen to by whoever opens the file."""


class Tidier:
    """Looks, at `next_at` (monotonic seconds), at what there is to do; never raises, and never for long.

    Retention goes on under load, or a store that is always busy would never forget a job. The rest can wait for rest:
    free pages are used again.
    """

    def __init__(self, tx: Transaction, path: str, checkpointer: Checkpointer, tuning: Tuning) -> None:
        self._tx = tx
        self._path = path
        self._checkpointer = checkpointer
        self._tuning = tuning
        self._looked = time.monotonic()
        self._retain_at = self._looked + tuning.retention
        self._key_row: int | None = None
        """The row up to which keys were looked at, while they are."""
        self.wrote = 0
        """Transactions since the last look."""
        self.next_at = self._looked + tuning.idle

    def look(self, free: Callable[[], bool]) -> None:
        """Do a piece of what there is to do, more of it while `free()` says that nobody waits."""
        now = time.monotonic()
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
                shorter = self._give_back(free)
                # The file itself is cut only when the log is moved into it, however short that is.
                self._checkpointer.idle(empty=shorter)
                if self._key_row is not None and not self._forget_keys(self._key_row, free):
                    pause = PAUSE
        except Exception as error:
            logger.warning("%s could not be tidied up, and will be later: %s", self._path, error)
        finally:
            self.next_at = time.monotonic() + pause

    def close(self) -> None:
        """Erase what was purged, before a process ends that may be the only one."""
        until = time.monotonic() + LAST
        try:
            purges = self._tx.one("to_erase")
            if purges:
                self._erase(purges, lambda: time.monotonic() < until)
        except Exception as error:
            logger.warning("%s: what was purged is not erased yet, and will be later: %s", self._path, error)

    def _erase(self, purges: int, free: Callable[[], bool]) -> bool:
        """Give back every free page: rows longer than a page leave copies there each time that they move.

        Tell whether it came to an end. That of the log waits for whoever reads from it, until the next look.
        """
        db = self._tx.db
        while not self._all_given_back():
            self._checkpointer.look()
            if not free():
                return False
        if self._checkpointer.idle(empty=True):
            db.execute(self._tx.sql["erased"], (purges,))
        return True

    def _all_given_back(self) -> bool:
        """Give back a chunk of free pages; tell, as of that moment, whether it was the last."""
        db = self._tx.db
        with immediate(db):
            db.execute(f"pragma incremental_vacuum({self._tuning.vacuum_pages})").fetchall()
            left = int(db.pragma("freelist_count"))
        return left == 0

    def _retain(self, free: Callable[[], bool]) -> bool:
        """Forget what is over; tell whether there is more."""
        tx = self._tx
        tx.begin()
        more = any(tx.one("any_over", (tx.queue(name).number, tx.now)) for name in tx.names())
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
        """Take away the rows of keys of which nothing is left, a chunk at a time; tell whether it came to an end."""
        tx = self._tx
        while True:
            upto = tx.one("lanes_next", (after, KEYS))
            if upto is None:
                self._key_row = None
                return True
            tx.begin()
            chunk = (after, upto, nanos(tx.now))
            if tx.one("lanes_over", chunk):
                tx.run("lanes_forget", chunk)  # a transaction of its own
                self._checkpointer.look()
            self._key_row = after = upto
            if not free():
                return False

    def _give_back(self, free: Callable[[], bool]) -> bool:
        """Take free pages off the end of the file; tell whether there were any."""
        db = self._tx.db
        shorter = False
        while free() and int(db.pragma("freelist_count")) > self._tuning.vacuum_pages:
            db.execute(f"pragma incremental_vacuum({self._tuning.vacuum_pages})").fetchall()
            self._checkpointer.look()
            shorter = True
        return shorter
