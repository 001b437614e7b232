"""The rows of the memory store: a job, a holder, a queue."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from outlast.core.forecast import Offer, Sample
from outlast.core.message import Failure, Fence, Message, State
from outlast.core.policy import DEFAULTS
from outlast.core.select import QueueState, Ticket
from outlast.core.store.totals import MOST_KINDS, OTHER, OUTCOMES, Outcome, counted_as
from outlast.core.topology import Queue

__all__ = ["DrainRate", "HolderRow", "JobRow", "QueueData"]

RATE_TAU = 30.0
"""Seconds in which the weight of an event in the drain rate falls to 1/e."""


@dataclass(slots=True, eq=False)
class JobRow:
    """One job and all that is kept about it."""

    message: Message
    order: int
    rank: int
    at: float
    """When the job is, or was last, due."""
    state: State
    accepted: float
    attempt: int = 1
    crashes: int = 0
    ran: bool = False
    """A settlement told that a run of it had started; see `begun`."""
    token: int = 0
    open: bool = False
    """The last delivery may still be settled."""
    settled: int = 0
    """The token of the last accepted settlement, by which a repeated one is recognised."""
    holder: HolderRow | None = None
    """The holder; after its lease has lapsed, the last holder, which may still take the job back."""
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
        """The bytes of the arguments."""
        return len(self.message.args)

    def late(self, now: float) -> bool:
        """Tell whether the job has not begun and is past its `expires` time."""
        expires_at = self.message.expires_at
        return expires_at is not None and now >= expires_at and not self.begun

    @property
    def begun(self) -> bool:
        """Whether it has begun: a lapse counts a crash, which its holder may take back."""
        return self.ran or self.crashes > 0

    def add_failure(self, failure: Failure | None) -> None:
        """Add a failure to the job, which keeps the last `Defaults.failures_kept`."""
        if failure is not None:
            self.failures = (*self.failures, failure)[-DEFAULTS.failures_kept :]

    @property
    def ticket(self) -> Ticket:
        """The order of the job among the ready jobs of its key."""
        return Ticket(self.rank, self.order, self.message.id)

    @property
    def fence(self) -> Fence:
        """The fence of the last delivery."""
        return Fence(self.message.id, self.message.queue, self.token, self.order)


@dataclass(slots=True, eq=False)
class HolderRow:
    """One holder: one lease for all its jobs, and the fences it lost since its last `extend`."""

    id: str
    until: float
    """When the lease lapses, monotonic seconds."""
    queues: set[str] = field(default_factory=set)
    """The queues of its last claim."""
    loads: Mapping[str, Offer] | None = None
    """What it can do for each queue."""
    jobs: dict[str, JobRow] = field(default_factory=dict)
    lost: list[Fence] = field(default_factory=list)


@dataclass(slots=True)
class DrainRate:
    """Events per second, averaged with exponential decay over RATE_TAU seconds."""

    count: float = 0.0
    at: float = 0.0

    def counted(self, now: float) -> float:
        """Return the events, each weighed by its age."""
        return self.per_second(now) * RATE_TAU

    def add(self, now: float) -> None:
        """Count one event at `now` (monotonic seconds)."""
        self.count = self.per_second(now) * RATE_TAU + 1.0
        self.at = now

    def per_second(self, now: float) -> float:
        """Return the rate at `now`."""
        return self.count * math.exp((self.at - now) / RATE_TAU) / RATE_TAU


@dataclass(slots=True, eq=False)
class QueueData(QueueState):
    """One queue: its ready jobs and their keys, scheduled jobs by due time, and ended jobs, oldest end first."""

    app: str = ""
    """The app that owns the queue, "" while it has no owner."""
    declared: Queue = field(default_factory=lambda: Queue(name="default"))
    """The app's declaration; `queue` is this with the operator's changes."""
    changes: dict[str, Any] = field(default_factory=dict)
    due: list[tuple[float, int, str]] = field(default_factory=list)
    """Heap of (at, order, id) of scheduled and parked jobs; outdated entries are skipped."""
    depth: int = 0
    bytes: int = 0
    """The bytes of the arguments of unfinished jobs."""
    by_key: dict[str, list[int]] = field(default_factory=dict)
    """The number of unfinished jobs, and the bytes of their arguments, for each key that has any."""
    shed: int = 0
    paused: bool = False
    rate: DrainRate = field(default_factory=DrainRate)
    ended: OrderedDict[str, JobRow] = field(default_factory=OrderedDict)
    dead: OrderedDict[str, JobRow] = field(default_factory=OrderedDict)
    results: list[tuple[float, int, str]] = field(default_factory=list)
    """Heap of (kept until, order, id) of succeeded jobs with a result; entries of removed jobs are skipped."""
    samples: Sequence[Sample] = ()
    """The last counts, for the forecast; their times are monotonic seconds."""
    results_kept: int = 0
    """The number of succeeded jobs with a result."""
    totals: dict[str, dict[Outcome, int]] = field(default_factory=dict)
    """The number of ended jobs by the name of their kind and by outcome."""

    def count_kinds(self, names: Sequence[str]) -> None:
        """Count ended jobs of these kinds by name from now on."""
        for name in (OTHER, *names) if names else ():
            if name == OTHER or len(self.totals) <= MOST_KINDS:
                self.totals.setdefault(name, dict.fromkeys(OUTCOMES, 0))

    def count_end(self, job: JobRow, outcome: Outcome) -> None:
        """Count an ended job."""
        counts = self.totals.setdefault(counted_as(job.message.kind, self.totals), dict.fromkeys(OUTCOMES, 0))
        counts[outcome] += 1

    def count(self, job: JobRow, change: int) -> None:
        """Add a job to the counts (`change` 1) or remove it (-1)."""
        self.depth += change
        self.bytes += change * job.size
        key = job.message.key
        if key is not None:
            counts = self.by_key.setdefault(key, [0, 0])
            counts[0] += change
            counts[1] += change * job.size
            if not counts[0]:
                del self.by_key[key]
