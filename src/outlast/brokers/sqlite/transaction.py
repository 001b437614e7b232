"""Runs named statements on one connection, and keeps a transaction's queues, counters and changes until its end."""

from __future__ import annotations

import array
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import apsw
import msgspec
from msgspec import Struct

from outlast.brokers.sqlite.limits import rules
from outlast.brokers.sqlite.statements import statements
from outlast.clients.sqlite.connection import SharedConnection
from outlast.core.clock import Clock
from outlast.core.forecast import Offer, Pace
from outlast.core.kinds import name_of
from outlast.core.message import Fence
from outlast.core.policy import Retention
from outlast.core.store.totals import OTHER, OUTCOMES, Outcome
from outlast.core.topology import Queue

__all__ = [
    "CANCELLED",
    "CHANGES",
    "DEAD",
    "ENDED",
    "EXPIRED",
    "PARKED",
    "PRIORITIES",
    "PRIORITY_NUMBER",
    "READY",
    "RUNNING",
    "SCHEDULED",
    "STATES",
    "STATE_NUMBER",
    "SUCCEEDED",
    "WAITING",
    "QueueRow",
    "Transaction",
    "array_of",
    "json_of",
]

READY, RUNNING, SCHEDULED, WAITING, PARKED = 0, 1, 2, 3, 4
ENDED = 10
SUCCEEDED, DEAD, CANCELLED, EXPIRED = 10, 11, 12, 13
STATES: Final[dict[int, Any]] = {
    READY: "ready",
    RUNNING: "running",
    SCHEDULED: "scheduled",
    WAITING: "waiting",
    PARKED: "parked",
    SUCCEEDED: "succeeded",
    DEAD: "dead",
    CANCELLED: "cancelled",
    EXPIRED: "expired",
}
STATE_NUMBER: Final[dict[str, int]] = {name: number for number, name in STATES.items()}
PRIORITIES: Final[tuple[Any, ...]] = ("high", "normal", "low")
PRIORITY_NUMBER: Final[dict[str, int]] = {name: number for number, name in enumerate(PRIORITIES)}

CHANGES: Final = ("work", "ended", "schedule", "guard")
"""The names of changes: jobs may be ready, jobs have ended, schedules were amended, guards changed.

Other versions use these too."""
DRAIN_TAU: Final = 30.0
"""Seconds over which ended jobs are averaged into a drain rate."""
_encode: Final = msgspec.json.Encoder().encode


def json_of(value: Any) -> str:
    """Return a value as JSON text, to be bound to a statement."""
    return _encode(value).decode()


def array_of(numbers: Iterable[int]) -> Any:
    """Return integers as an array, to be bound to a statement."""
    return apsw.carray(array.array("q", numbers))


class QueueRow(Struct, frozen=True):
    """A queue's row in the file."""

    number: int
    paused: bool
    max_depth: int | None
    depth: int
    records: int
    records_kept: int
    record_ttl: float
    dead_ttl: float
    id_memory: float
    drained: float
    drained_at: float
    pruned: float
    uniques: bool
    name: str
    dead: int
    app: str
    limits: str | None
    back: int
    turn: int
    tat: int
    bytes: int | None
    shed: int
    results_kept: int

    @property
    def rules(self) -> Queue:
        """The limits that apply; its retention is not filled in."""
        return rules(self.name, self.limits)

    def drain_rate(self, now: float) -> float:
        """Return ended jobs a second, averaged with an exponential decay."""
        return self.drained * math.exp(-max(0.0, now - self.drained_at) / DRAIN_TAU) / DRAIN_TAU


class CounterChanges(Struct):
    """What one transaction adds to a queue's counters."""

    depth: int = 0
    records: int = 0
    dead: int = 0
    drained: int = 0
    bytes: int = 0
    shed: int = 0


class RingPosition(Struct):
    """The columns `back`, `turn` and `tat` of a queue within this transaction; `changed`: they are to be written."""

    back: int
    turn: int
    tat: int
    changed: bool = False

    def extend(self, keys: int) -> None:
        """Count keys that joined at the back."""
        if keys:
            self.back += keys
            self.changed = True


class Transaction:
    """Runs named statements, adds up the queues' counters, records what changed.

    `begin` reads the clocks once, so all that happens in one transaction happens at one time.
    """

    def __init__(self, db: SharedConnection, clock: Clock, boot: str, max_body: int) -> None:
        self.db = db
        self.clock = clock
        self.boot = boot
        self.max_body = max_body
        self.sql = statements()
        self.claimed: dict[str, str] = {}
        """By holder, the queues that the file has for it, as JSON."""
        self.loads: dict[str, Mapping[str, Offer]] = {}
        """By holder, what the file has of what it can do."""
        self.last_served = ""
        self.keys_seen: dict[int, int] = {}
        """By queue, how many keys the last claim read: an estimate of how many jobs of each the next one needs."""
        self.new_results: dict[int, int] = {}
        """By queue, results that this process stored since it last counted those of the queue."""
        self.kinds = "[]"
        """The kinds that claims of this process can run, as JSON."""
        self.now = 0.0
        self.mono = 0.0
        self.changes: set[Literal["work", "ended", "schedule", "guard"]] = set()
        """What changed since `begin`, by the names of CHANGES."""
        self._queues: dict[str, QueueRow] = {}
        self._counts: defaultdict[int, CounterChanges] = defaultdict(CounterChanges)
        self._rings: dict[int, RingPosition] = {}
        self.paces: dict[int, Pace] = {}
        """By queue, how fast it moves, where this transaction has asked."""
        self.key_weights: dict[int, int] = {}
        """Bytes that this transaction adds to each key, by the key's row."""
        self._ends: dict[tuple[int, str], dict[Outcome, int]] = {}
        """By queue and kind, the jobs that this transaction has ended."""

    def begin(self) -> None:
        """Read the clocks, and forget what earlier transactions read, counted and changed."""
        self.now = self.clock.time()
        self.mono = self.clock.monotonic()
        self.changes.clear()
        self._queues.clear()
        self._counts.clear()
        self._rings.clear()
        self.paces.clear()
        self.key_weights.clear()
        self._ends.clear()

    def rolled_back(self) -> None:
        """Forget the holders and changes of a transaction that was rolled back."""
        self.claimed.clear()
        self.loads.clear()
        self.changes.clear()

    def rows(self, name: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """Run a statement and return its rows."""
        return self.db.execute(self.sql[name], bindings).fetchall()

    def one(self, name: str, bindings: Sequence[Any] = ()) -> Any:
        """Run a statement and return its first row's only value, its first row, or None."""
        return self.db.execute(self.sql[name], bindings).get

    def row(self, name: str, bindings: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Run a statement and return its first row."""
        found = self.db.execute(self.sql[name], bindings).fetchall()
        return found[0] if found else None

    def run(self, name: str, bindings: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        self.db.execute(self.sql[name], bindings)
        return self.db.changes()

    def queue(self, name: str) -> QueueRow:
        """Return a queue's row, created with the defaults when it is new."""
        found = self._queues.get(name) or self.find_queue(name)
        if found is None:
            keep = Retention()
            self.run("queue_add", (name, keep.record_ttl, keep.records, keep.dead_ttl, keep.id_memory))
            found = self.find_queue(name)
            assert found is not None
        return found

    def find_queue(self, name: str) -> QueueRow | None:
        """Return a queue's row, None when the file has none."""
        found = self._queues.get(name)
        if found is None:
            row = self.row("queue_row", (name,))
            if row is None:
                return None
            found = self._queues[name] = QueueRow(*row)
        return found

    def refresh(self, name: str) -> None:
        """Read a queue's row again: this transaction has written to it."""
        self._queues.pop(name, None)
        self.find_queue(name)

    def count(self, queue: int) -> CounterChanges:
        """Return the counters that this transaction adds to."""
        return self._counts[queue]

    def end(self, queue: int, kind: str | bytes | None, outcome: Outcome, jobs: int = 1) -> None:
        """Count jobs of a wire kind that ended; one that is not UTF-8 counts as undeclared."""
        if isinstance(kind, bytes):
            kind = kind.decode(errors="replace")
        counts = self._ends.setdefault((queue, name_of(kind or "")), {})
        counts[outcome] = counts.get(outcome, 0) + jobs

    def ring(self, queue: QueueRow) -> RingPosition:
        """Return a queue's ring; its `back` is 0 while the queue never had a key."""
        ring = self._rings.get(queue.number)
        if ring is None:
            ring = self._rings[queue.number] = RingPosition(queue.back, queue.turn, queue.tat)
        return ring

    def depth(self, queue: QueueRow) -> int:
        """Return the number of unfinished jobs of a queue, those of this transaction included."""
        counts = self._counts.get(queue.number)
        return queue.depth + (counts.depth if counts else 0)

    def ended(self, queue: QueueRow) -> float:
        """Return the ended jobs of a queue, each weighed by its age, those of this transaction included."""
        counts = self._counts.get(queue.number)
        return queue.drain_rate(self.now) * DRAIN_TAU + (counts.drained if counts else 0)

    def weight(self, queue: QueueRow) -> int:
        """Return the bytes of a queue's unfinished jobs, this transaction's included; 0 where they are not counted."""
        counts = self._counts.get(queue.number)
        return (queue.bytes or 0) + (counts.bytes if counts else 0)

    def weigh(self, queue: QueueRow, key_row: int | None, size: int) -> None:
        """Add to the bytes of a queue and of a key."""
        self.count(queue.number).bytes += size
        if key_row is not None and queue.rules.per_key.max_bytes is not None:
            self.key_weights[key_row] = self.key_weights.get(key_row, 0) + size

    def write_counts(self) -> None:
        """Write the counters, totals and rings that this transaction changed."""
        by_number = {row.number: row for row in self._queues.values()}
        for number, counts in self._counts.items():
            row = by_number[number]
            drained = row.drain_rate(self.now) * DRAIN_TAU + counts.drained
            self.run(
                "queue_count",
                (counts.depth, counts.records, counts.dead, drained, self.now, counts.bytes, counts.shed, number),
            )
        self.write_ends()
        if self.key_weights:
            self.run("lanes_weigh", (json_of(list(self.key_weights.items())),))
        for number, ring in self._rings.items():
            if ring.changed:
                self.run("queue_ring", (ring.back, ring.turn, ring.tat, number))

    def write_ends(self) -> None:
        """Add the jobs that this transaction has ended to the totals, once."""
        for (queue, kind), counts in self._ends.items():
            added = [counts.get(each, 0) for each in OUTCOMES]
            if not self.run("totals_add", (*added, queue, kind)):  # its kind is not declared
                self.run("totals_other", (queue, OTHER))
                self.run("totals_add", (*added, queue, OTHER))
        self._ends.clear()

    def fence_counts(self, fence: Fence) -> bool:
        """Return whether a fence that changed no row was applied before: its job still has its token."""
        row = self.row("fence_row", (fence.row,))
        return row is not None and abs(row[0]) == fence.token

    def names(self) -> Iterable[str]:
        """Return the names of all queues."""
        return [name for (name,) in self.rows("queue_names")]
