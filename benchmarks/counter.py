"""The body of the job that every system runs, and the shared file in which the driver counts what ran.

Standard library only: it is imported in each peer's own virtual environment.
The file, all 8-byte words: 64 words (the next free slot, then one count per process), `capacity` start times by
user_id, `capacity` send times by user_id. Times are CLOCK_MONOTONIC in seconds: one clock for all processes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from pathlib import Path

__all__ = ["NAP", "Board", "create", "run"]

WORDS = 64
NAP = float(os.environ.get("BENCH_NAP", "0"))
"""Seconds that each job sleeps after it was counted."""
WORK = float(os.environ.get("BENCH_WORK", "0"))
"""CPU seconds that each job uses."""


def create(path: Path, capacity: int) -> Board:
    """Make an empty board for jobs 0 to capacity - 1."""
    with path.open("wb") as file:
        file.truncate(8 * (WORDS + 2 * capacity))
    return Board(path)


class Board:
    """One mapped board. Workers call `started`, producers `sent`, the driver the rest."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR)
        self._map = mmap.mmap(self._file, 0)
        words = len(self._map) // 8
        self.capacity = (words - WORDS) // 2
        whole = memoryview(self._map)
        self._counts = whole[: 8 * WORDS].cast("Q")
        self._starts = whole[8 * WORDS : 8 * (WORDS + self.capacity)].cast("d")
        self._sends = whole[8 * (WORDS + self.capacity) :].cast("d")
        self._lock = threading.Lock()
        self._slot = 0

    def started(self, user_id: int) -> None:
        """Count one start. Locked, because some peers run jobs in threads."""
        with self._lock:
            self._starts[user_id] = time.monotonic()
            self._counts[self._slot or self._take_slot()] += 1

    def _take_slot(self) -> int:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._counts[0] += 1
        self._slot = self._counts[0]
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return self._slot

    def sent(self, user_id: int) -> None:
        """Note that this job is about to be enqueued."""
        self._sends[user_id] = time.monotonic()

    def count(self) -> int:
        """Return how many starts there were, repeated ones included."""
        return sum(self._counts[1:])

    def processes(self) -> int:
        """Return how many processes have started a job."""
        return int(self._counts[0])

    def starts(self) -> list[float]:
        """Return the time of each job that started, in order; a job that ran twice is there once."""
        return sorted(filter(None, self._starts))

    def delays(self) -> list[float]:
        """Return the seconds from send to start of each job that was sent and started, in order."""
        return sorted(b - a for a, b in zip(self._sends, self._starts, strict=True) if a and b)

    def clear(self) -> None:
        """Forget all starts and sends; no worker may be running."""
        size = len(self._map)
        self._map[:] = bytes(size)


_board: Board | None = None


def run(user_id: int, email: str) -> None:
    """Run the job: note that it started, and use WORK. A job that is to sleep does so itself, in its own way."""
    global _board
    if _board is None:
        _board = Board(Path(os.environ["BENCH_COUNTER"]))
    _board.started(user_id)
    if WORK:
        done = time.thread_time() + WORK
        while time.thread_time() < done:
            pass
