"""What the memory store keeps: a job, a holder, a queue."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from outlast.core.message import Failure, Fence, Message, State
from outlast.core.select import QueueState, Ticket
from outlast.core.topology import Queue

__all__ = ["DrainRate", "HolderRow", "JobRow", "QueueData"]

RATE_TAU = 30.0
"""Seconds over which the drain rate forgets."""


@dataclass(slots=True, eq=False)
class JobRow:
    """One job and all that is kept about it."""

    message: Message
    order: int
    rank: int
    at: float
    """When it is, or was last, due."""
    state: State
    accepted: float
    attempt: int = 1
    crashes: int = 0
    token: int = 0
    open: bool = False
    """The last hand-out may still be settled."""
    settled: int = 0
    """The token of the last settlement that was accepted, so that a repeat is known as one."""
    holder: HolderRow | None = None
    """Who holds it, or held it when the lease lapsed and may still take it back."""
    lapsed: bool = False
    cancelling: bool = False
    reason: str | None = None
    finished_at: float | None = None
    result: Raw | None = None
    result_until: float = math.inf
    failures: tuple[Failure, ...] = ()
    notes: dict[str, Raw] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of its arguments."""
        return len(self.message.args)

    @property
    def place(self) -> Ticket:
        """Its place in its queue's line."""
        return Ticket(self.rank, self.order, self.message.id)

    @property
    def fence(self) -> Fence:
        """The right to report on its last hand-out."""
        return Fence(self.message.id, self.message.queue, self.token, self.order)


@dataclass(slots=True, eq=False)
class HolderRow:
    """One holder: one lease for all its jobs, and what it has lost since it last asked."""

    id: str
    until: float
    """Monotonic seconds."""
    asked: set[str] = field(default_factory=set)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    lost: list[Fence] = field(default_factory=list)


@dataclass(slots=True)
class DrainRate:
    """Events a second, forgotten exponentially over RATE_TAU seconds."""

    count: float = 0.0
    at: float = 0.0

    def add(self, now: float) -> None:
        """Count one event at `now` (monotonic seconds)."""
        self.count = self.per_second(now) * RATE_TAU + 1.0
        self.at = now

    def per_second(self, now: float) -> float:
        """Return the rate at `now`."""
        return self.count * math.exp((self.at - now) / RATE_TAU) / RATE_TAU


@dataclass(slots=True, eq=False)
class QueueData(QueueState):
    """One queue: who is ready and in what turn, who is due when, and what has ended, oldest end first."""

    app: str = ""
    """Whose it is, "" while nobody's."""
    declared: Queue = field(default_factory=lambda: Queue(name="default"))
    """What the app says; `queue` is that with what an operator has changed."""
    changes: dict[str, Any] = field(default_factory=dict)
    due: list[tuple[float, int, str]] = field(default_factory=list)
    """Heap of (at, order, id) of scheduled and parked jobs; entries of jobs that moved on are skipped."""
    depth: int = 0
    bytes: int = 0
    """Of the arguments of unfinished jobs."""
    by_key: dict[str, list[int]] = field(default_factory=dict)
    """Unfinished jobs, and the bytes of their arguments, of each key that has any."""
    shed: int = 0
    paused: bool = False
    rate: DrainRate = field(default_factory=DrainRate)
    ended: OrderedDict[str, JobRow] = field(default_factory=OrderedDict)
    dead: OrderedDict[str, JobRow] = field(default_factory=OrderedDict)
    results: list[tuple[float, int, str]] = field(default_factory=list)
    """Heap of (kept until, order, id)."""

    def count(self, job: JobRow, change: int) -> None:
        """Count a job (`change` 1) or count it no more (-1)."""
        self.depth += change
        self.bytes += change * job.size
        key = job.message.key
        if key is not None:
            held = self.by_key.setdefault(key, [0, 0])
            held[0] += change
            held[1] += change * job.size
            if not held[0]:
                del self.by_key[key]
