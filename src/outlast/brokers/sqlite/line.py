"""The line of the processes that want to write to one file: SQLite's own lock goes to whoever happens to ask next."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

import apsw

__all__ = ["Line"]

PLACES: Final = 4
"""Places in the line. Who holds one moves up when the next is free; behind the last it is chance again."""
STEP: Final = 0.0002
"""Seconds between two looks at the next place, from the first place; longer from those behind it."""
NOTICED: Final = 0.0003
"""Seconds to begin a transaction from which somebody else must have held the lock."""
CALM: Final = 1.0
"""Seconds without company after which the line is not stood in: alone, it would cost each transaction 8 us."""
PATIENCE: Final = 0.5
"""Seconds after which the line counts as stuck: somebody in it was stopped. Then it is passed by."""
IGNORED: Final = 5.0
"""Seconds for which a line that was stuck is not looked at."""


class Line:
    """Begins transactions in turn with other processes. Only their order depends on it, never safety.

    Measured with four processes that claim and settle without a pause: another one's enqueue p99 falls to less than a
    half, its median rises to one full round. A place is a lock (flock) on an empty file in `folder`; the kernel takes
    it from a process that dies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: list[int] = []
        self._held = -1
        self._company_until = 0.0
        self._ignored_until = 0.0

    def begin(self, db: apsw.Connection) -> None:
        """Begin a transaction that writes; raise what SQLite raises."""
        asked = time.monotonic()
        if self._ignored_until <= asked < self._company_until:
            self._stand(asked)
        try:
            db.execute("begin immediate")
        finally:
            self._leave()
        now = time.monotonic()
        if now - asked > NOTICED:
            self._company_until = now + CALM

    def _stand(self, since: float) -> None:
        """Return when it is this process's turn, or when the line is stuck."""
        if not self._places:
            self._open()
        number = len(self._places) - 1
        while number >= 0:
            try:
                fcntl.flock(self._places[number], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                now = time.monotonic()
                if now - since > PATIENCE:
                    self._ignored_until = now + IGNORED
                    return
                time.sleep(STEP * (number + 1))
                continue
            self._leave()
            self._held = number
            number -= 1

    def _open(self) -> None:
        with contextlib.suppress(OSError):  # no folder, or no descriptor left: by chance, then
            for number in range(PLACES):
                place = str(self._folder / f"line-{number}")
                self._places.append(os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _leave(self) -> None:
        if self._held >= 0:
            fcntl.flock(self._places[self._held], fcntl.LOCK_UN)
            self._held = -1

    def close(self) -> None:
        """Let go of the files."""
        for place in self._places:
            os.close(place)
        self._places.clear()
