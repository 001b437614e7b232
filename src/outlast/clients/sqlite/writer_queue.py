"""Orders the processes that write to one file: SQLite's own lock goes to the process that asks at the right moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from outlast.clients.sqlite.connection import SharedConnection, sleep_shortly
from outlast.clients.sqlite.runtime_folder import usable

__all__ = ["WriterQueue"]

POSITIONS: Final = 4
"""Positions in a line. A process moves up when the next position is free; behind the last there is no order."""
STEP: Final = 0.0002
"""Seconds between two attempts at the first position; a multiple of it for those behind."""
NOTICED: Final = 0.0003
"""A transaction that takes more seconds than this to begin has waited for another process."""
CONTENDED: Final = 1.0
"""Seconds without another writer after which no line is used: it costs each transaction 8 us."""
PATIENCE: Final = 0.5
"""Seconds of waiting after which a line counts as stuck, because a process in it was stopped."""
IGNORED: Final = 5.0
"""Seconds for which a stuck line is not used."""
GIVE_WAY: Final = 0.02
"""The most seconds that a transaction waits for urgent ones of other processes: a stream of them must not stop it."""


class WriterQueue:
    """Begins transactions in turn with other processes. Only their order depends on it, never safety.

    There are two lines: urgent transactions, and all others, which begin while no urgent one waits. An urgent one thus
    waits for the transaction that runs, and for one more that had begun to ask. A position is a lock (flock) on an
    empty file in `folder`; the kernel releases it when the process dies.
    """

    def __init__(self, folder: Path) -> None:
        self._others = _Line(folder, "line")  # processes of other versions use this name
        self._urgent = _Line(folder, "urgent")
        self._announcement = _Announcement(folder / "announced")

    def begin(self, db: SharedConnection, *, urgent: bool = False) -> None:
        """Begin a write transaction; raise what SQLite raises."""
        line = self._urgent if urgent else self._others
        asked = monotonic()
        if urgent:
            db.waiting.pause = self._announce
            if line.is_used(asked):
                self._announcement.make()
        else:
            db.waiting.pause = self._pause
        try:
            line.wait(asked)
            if not urgent:
                self._give_way()
            db.execute("begin immediate")
        finally:
            db.waiting.pause = sleep_shortly
            line.leave()
            self._announcement.withdraw()
        now = monotonic()
        if now - asked > NOTICED:
            line.contended_until = now + CONTENDED

    def _announce(self) -> None:
        self._announcement.make()
        sleep_shortly()

    def _pause(self) -> None:
        sleep_shortly()
        self._give_way()

    def _give_way(self) -> None:
        """Wait while an urgent transaction waits, at most GIVE_WAY seconds."""
        since = 0.0
        while self._announcement.is_made():
            now = monotonic()
            since = since or now
            if now - since > GIVE_WAY:
                return
            sleep_shortly()

    def close(self) -> None:
        """Close the files."""
        self._others.close()
        self._urgent.close()
        self._announcement.close()


class _Announcement:
    """Tells other processes that an urgent transaction waits: a shared lock on an empty file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = False
        self._descriptor = -1
        self._made = False

    def make(self) -> None:
        """Announce; the next call tries again if another process looks at this moment."""
        if not self._made:
            self._made = self._lock(fcntl.LOCK_SH)

    def withdraw(self) -> None:
        """Take the announcement back, if it was made."""
        if self._made:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._made = False

    def is_made(self) -> bool:
        """Return whether another process has announced a transaction."""
        if self._lock(fcntl.LOCK_EX):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            return False
        return self._descriptor >= 0

    def _lock(self, how: int) -> bool:
        if not self._opened:
            self._opened = True
            self._descriptor = _open(self._path)
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except (OSError, ValueError):  # ValueError: there is no file
            return False
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Line:
    """The processes that wait, in the order in which they asked; used while there was another writer lately."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._positions: list[int] = []
        self._held = -1
        self._ignored_until = 0.0
        self.contended_until = 0.0

    def is_used(self, now: float) -> bool:
        """Return whether a process that asks at `now` (monotonic seconds) takes a position."""
        return self._ignored_until <= now < self.contended_until

    def wait(self, since: float) -> None:
        """Wait for the turn of this process, which asked at `since`; return early when the line is stuck or unused."""
        if not self.is_used(since):
            return
        if not self._positions:
            self._open_all()
        number = len(self._positions) - 1
        while number >= 0:
            try:
                fcntl.flock(self._positions[number], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                now = monotonic()
                if now - since > PATIENCE:
                    self._ignored_until = now + IGNORED
                    return
                sleep(STEP * (number + 1))
                continue
            self.leave()
            self._held = number
            number -= 1

    def _open_all(self) -> None:
        for number in range(POSITIONS):
            descriptor = _open(self._folder / f"{self._name}-{number}")
            if descriptor < 0:
                return  # no folder, or no descriptor left: fewer positions, or no order
            self._positions.append(descriptor)

    def leave(self) -> None:
        """Give up the position, if one is held."""
        if self._held >= 0:
            fcntl.flock(self._positions[self._held], fcntl.LOCK_UN)
            self._held = -1

    def close(self) -> None:
        for descriptor in self._positions:
            os.close(descriptor)
        self._positions.clear()


def _open(path: Path) -> int:
    """Return a descriptor of the file, made when it is missing; -1 when that fails, or its folder may not be used."""
    with contextlib.suppress(OSError):
        if usable(path.parent):
            return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return -1
