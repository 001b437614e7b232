"""What happened, for observers: frozen values, told after the fact; an observer decides nothing."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from outlast.core.message import State

__all__ = ["Event", "JobEnded", "JobLost", "JobRetried", "JobStarted", "Observer", "QueueUnattended", "WorkerStalled"]


class JobStarted(Struct, frozen=True):
    """A run began."""

    id: str
    queue: str
    kind: str
    attempt: int
    waited: float
    """Seconds since the job was due."""


class JobEnded(Struct, frozen=True):
    """A job reached a terminal state."""

    id: str
    queue: str
    kind: str
    state: State
    reason: str | None
    seconds: float


class JobRetried(Struct, frozen=True):
    """A run failed and another will follow at `at` (wall time)."""

    id: str
    queue: str
    kind: str
    attempt: int
    at: float
    error: str


class JobLost(Struct, frozen=True):
    """A holder was superseded: whatever it does for this job no longer counts."""

    id: str
    queue: str


class QueueUnattended(Struct, frozen=True):
    """Jobs wait in a queue that no live worker consumes."""

    queue: str
    depth: int
    seconds: float


class WorkerStalled(Struct, frozen=True):
    """A worker was alive but did not consume for `seconds`; it rebuilds its connection or exits."""

    holder: str
    seconds: float


Event = JobStarted | JobEnded | JobRetried | JobLost | QueueUnattended | WorkerStalled
Observer = Callable[[Event], None]
