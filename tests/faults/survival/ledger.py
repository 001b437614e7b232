"""The ledger: what every process of the proof did, one JSON line a fact, appended in one write that no kill tears."""

from __future__ import annotations

import lzma
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

__all__ = [
    "Dying",
    "Effect",
    "Enqueued",
    "Finished",
    "Followed",
    "Frozen",
    "Handed",
    "Killed",
    "Ledger",
    "Line",
    "Lost",
    "Opened",
    "Plan",
    "Planned",
    "Record",
    "Settled",
    "Started",
    "Stopping",
    "Thawed",
    "Twice",
    "lines_of",
    "now",
    "parse",
    "read",
    "text_of",
]


def now() -> float:
    """Return CLOCK_MONOTONIC in seconds, to a tenth of a millisecond."""
    return round(time.monotonic(), 4)


class Fact(Struct, frozen=True, kw_only=True, tag_field="what", tag=str.lower, omit_defaults=True):
    """Something that was done: t in seconds of CLOCK_MONOTONIC, the same for all processes; pid: who did it."""

    t: float = field(default_factory=now)
    pid: int = field(default_factory=os.getpid)


class Planned(Struct, frozen=True, array_like=True):
    """A job as it was offered: how often its first runs fail on purpose."""

    id: str
    kind: str
    fails: int = 0


# The run as a whole, by the runner


class Plan(Fact, frozen=True, kw_only=True):
    """How the run was set up. lease in seconds."""

    seed: int
    processes: int
    concurrency: int
    lease: float


class Killed(Fact, frozen=True, kw_only=True):
    """SIGKILL, sent right after `t` to these worker processes. scope: what was killed together.

    supervisor: 0 unless it was killed too. leases: by worker pid, when the store says that its lease ends, for all
    that hold one after a machine or a supervisor is gone.
    """

    scope: str
    workers: tuple[int, ...]
    supervisor: int = 0
    leases: dict[int, float] = field(default_factory=dict)


class Frozen(Fact, frozen=True, kw_only=True):
    """SIGSTOP to a supervisor and all its workers, right after `t`."""

    workers: tuple[int, ...]
    supervisor: int
    leases: dict[int, float] = field(default_factory=dict)


class Thawed(Fact, frozen=True, kw_only=True):
    """SIGCONT to the same, right after `t`; the supervisor last."""

    workers: tuple[int, ...]
    supervisor: int


class Stopping(Fact, frozen=True, kw_only=True):
    """A supervisor was asked to stop in peace."""

    supervisor: int


class Record(Fact, frozen=True, kw_only=True):
    """What the store shows of a job when all is over. run: what its handler returned, "" when it returns nothing."""

    id: str
    kind: str
    state: str
    reason: str = ""
    attempt: int = 1
    crashes: int = 0
    run: str = ""


# Producers


class Enqueued(Fact, frozen=True, kw_only=True):
    """An enqueue returned, and so these jobs are accepted. began: when it was called."""

    began: float
    jobs: tuple[Planned, ...]


class Twice(Fact, frozen=True, kw_only=True):
    """An enqueue was answered with a job that stands already."""

    id: str
    by: str


# Worker processes, at the seam to the store


class Opened(Fact, frozen=True, kw_only=True):
    """A worker process has made its store."""

    supervisor: int


class Handed(Fact, frozen=True, kw_only=True):
    """A claim came back: job, attempt, crashes, all under one fence."""

    token: int
    holder: str
    jobs: tuple[tuple[str, int, int], ...]


class Settled(Fact, frozen=True, kw_only=True):
    """A settle call begun at `began` came back: job, fence, what was said; accepted, or refused as superseded."""

    began: float
    accepted: tuple[tuple[str, int, str], ...] = ()
    superseded: tuple[tuple[str, int, str], ...] = ()


class Lost(Fact, frozen=True, kw_only=True):
    """A worker told its observers JobLost."""

    id: str


# Runs, by the handlers. run: a name that no other run has; pid: the process it is in, also when that is a child of its
# worker's.


class Started(Fact, frozen=True, kw_only=True):
    """The handler began. token 0: in an isolated process, which does not know its fence."""

    id: str
    run: str
    attempt: int
    crashes: int
    token: int
    worker: int


class Effect(Fact, frozen=True, kw_only=True):
    """The handler's side effect on the world, in mid run."""

    id: str
    run: str


class Followed(Fact, frozen=True, kw_only=True):
    """The handler enqueued `child` through its context."""

    id: str
    run: str
    child: str


class Finished(Fact, frozen=True, kw_only=True):
    """The handler's last act. how: "ok", "failed" (it raises, to be retried) or "gave-up"."""

    id: str
    run: str
    how: str = "ok"


class Dying(Fact, frozen=True, kw_only=True):
    """The handler kills its own process, right after `t`."""

    id: str
    run: str


Line = (
    Plan
    | Killed
    | Frozen
    | Thawed
    | Stopping
    | Record
    | Enqueued
    | Twice
    | Opened
    | Handed
    | Settled
    | Lost
    | Started
    | Effect
    | Followed
    | Finished
    | Dying
)

_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


def text_of(line: Line) -> bytes:
    """Return the line as it stands in the file."""
    return _encoder.encode(line) + b"\n"


def parse(text: bytes) -> Line:
    """Return the fact in a line; raise msgspec.DecodeError."""
    return _decoder.decode(text)


class Ledger:
    """Appends facts to one file, from any thread of any process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, line: Line) -> None:
        """Append one fact: one write of one line, which a kill leaves whole or undone."""
        text = text_of(line)
        if os.write(self._file, text) != len(text):
            raise OSError("the ledger took only part of a line")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def lines_of(text: bytes) -> list[Line]:
    """Return all facts of a ledger's text, by time; what was written first comes first among equals."""
    return ordered(parse(line) for line in text.splitlines())


def ordered(lines: Iterable[Line]) -> list[Line]:
    """Return the facts by time."""
    return sorted(lines, key=lambda line: line.t)


def read(path: Path) -> list[Line]:
    """Return all facts of a ledger file, plain or .xz."""
    text = path.read_bytes()
    return lines_of(lzma.decompress(text) if path.suffix == ".xz" else text)
