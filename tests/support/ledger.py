"""An append-only file in which every process of a test writes what it does, one line an event, never torn."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True)
class Entry:
    """One event: what, of which job, in which process, at which monotonic second."""

    word: str
    name: str
    pid: int
    at: float


class Ledger:
    """Write and read one such file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, word: str, name: object) -> None:
        """Append one event."""
        line = f"{word} {name} {os.getpid()} {time.monotonic():.6f}\n".encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def read(self, word: str | None = None) -> list[Entry]:
        """Return the events of one sort, or all, in order."""
        if not self.path.exists():
            return []
        rows = (line.split() for line in self.path.read_text().splitlines())
        entries = [Entry(kind, name, int(pid), float(at)) for kind, name, pid, at in rows]
        return [entry for entry in entries if word is None or entry.word == word]

    def names(self, word: str) -> Counter[str]:
        """Count the events of one sort by job."""
        return Counter(entry.name for entry in self.read(word))
