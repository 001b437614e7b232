"""A file in which the demo's workers record their runs, one line per event, so that the page shows retries at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from outlast.core.events import Event, JobEnded, JobPostponed, JobRetried, JobStarted

__all__ = ["Journal", "JournalLine", "Tail"]


class JournalLine(msgspec.Struct, frozen=True, kw_only=True):
    """An event of one run of one job in worker process `pid`. at: wall time in seconds."""

    what: Literal["started", "retried", "postponed", "ended"]
    job: str
    kind: str
    pid: int
    at: float


class Journal:
    """An observer of Outlast that appends to a file; several processes append to the same file."""

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._file = -1

    def __call__(self, event: Event) -> None:
        """Append one line for a run that starts and for one that is retried, postponed or ends."""
        match event:
            case JobStarted():
                self._append("started", event.id, event.kind)
            case JobRetried():
                self._append("retried", event.id, event.kind)
            case JobPostponed():
                self._append("postponed", event.id, event.kind)
            case JobEnded():
                self._append("ended", event.id, event.kind)
            case _:
                return

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, what: Literal["started", "retried", "postponed", "ended"], job: str, kind: str) -> None:
        if self._file < 0:
            self._file = os.open(self._path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        run = JournalLine(what=what, job=job, kind=kind, pid=os.getpid(), at=time.time())
        # One write per line: with O_APPEND the lines of several processes do not mix.
        os.write(self._file, msgspec.json.encode(run) + b"\n")


class Tail:
    """Reads the complete lines that were appended to a file since the last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> list[bytes]:
        """Return the new lines; none while the file does not exist."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        complete = added[: added.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete.splitlines()
