"""One connection's statements and what it has learnt: the queues, the holders, this boot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw
import msgspec
from msgspec import Struct

from outlast.brokers.sqlite.limits import rules
from outlast.brokers.sqlite.statements import statements
from outlast.core.clock import Clock
from outlast.core.message import Fence
from outlast.core.policy import Retention
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

CHANGES: Final = ("work", "ended", "schedule")
"""What listeners are notified of; processes of other versions use these names."""
DRAIN_TAU: Final = 30.0
"""Seconds over which ended jobs are averaged into a drain rate."""


class QueueRow(Struct, frozen=True):
    """A queue as the file has it."""

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

    @property
    def rules(self) -> Queue:
        """The limits that hold; its retention is not filled in."""
        return rules(self.name, self.limits)

    def drain_rate(self, now: float) -> float:
        """Return ended jobs a second, averaged with an exponential decay."""
        return self.drained * math.exp(-max(0.0, now - self.drained_at) / DRAIN_TAU) / DRAIN_TAU


class CounterChanges:
    """What one transaction changes in a queue's counters."""

    __slots__ = ("bytes", "dead", "depth", "drained", "records", "shed")

    def __init__(self) -> None:
        self.depth = 0
        self.records = 0
        self.dead = 0
        self.drained = 0
        self.bytes = 0
        self.shed = 0


class RingPosition:
    """Where a queue's ring stands, as this transaction has it; `changed` writes it back."""

    __slots__ = ("back", "changed", "tat", "turn")

    def __init__(self, row: QueueRow) -> None:
        self.back = row.back
        self.turn = row.turn
        self.tat = row.tat
        self.changed = False


class Transaction:
    """Runs named statements, adds up the queues' counters, notes what changed.

    `begin` reads the clocks once, so all that happens in one transaction happens at one time.
    """

    def __init__(self, db: apsw.Connection, clock: Clock, boot: str, max_body: int) -> None:
        self.db = db
        self.clock = clock
        self.boot = boot
        self.max_body = max_body
        self.sql = statements()
        self.holders: dict[str, int] = {}
        self.asked: dict[str, str] = {}
        self.last_served = ""
        self.keys_seen: dict[int, int] = {}
        """By queue, how many keys the last claim met: a guess at how many jobs of each the next one needs."""
        self.kinds = "[]"
        """What the claims of this process can run, as JSON."""
        self.now = 0.0
        self.mono = 0.0
        self.work = False
        self.ended = False
        self.schedules = False
        """What changed: jobs may be ready, jobs have ended, schedules were amended."""
        self._queues: dict[str, QueueRow] = {}
        self._counts: dict[int, CounterChanges] = {}
        self._rings: dict[int, RingPosition] = {}
        self.key_weights: dict[int, int] = {}
        """Bytes that this transaction adds to each key, by the key's row."""

    def begin(self) -> None:
        """Start from what the file says now."""
        self.now = self.clock.time()
        self.mono = self.clock.monotonic()
        self.work = self.ended = self.schedules = False
        self._queues.clear()
        self._counts.clear()
        self._rings.clear()
        self.key_weights.clear()

    @property
    def changes(self) -> list[str]:
        """The names of what changed since `begin`, as listeners know them."""
        return [name for name, changed in zip(CHANGES, (self.work, self.ended, self.schedules), strict=True) if changed]

    def rolled_back(self) -> None:
        """Forget the holders and changes of a transaction that was rolled back."""
        self.holders.clear()
        self.asked.clear()
        self.work = self.ended = self.schedules = False

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
        """Return a queue's row, made with the defaults when it is new."""
        found = self._queues.get(name) or self.find_queue(name)
        if found is None:
            keep = Retention()
            self.run("queue_add", (name, keep.record_ttl, keep.records, keep.dead_ttl, keep.id_memory))
            found = self.find_queue(name)
            assert found is not None
        return found

    def find_queue(self, name: str) -> QueueRow | None:
        """Return a queue's row, None when the file does not know it."""
        found = self._queues.get(name)
        if found is None:
            row = self.row("queue_row", (name,))
            if row is None:
                return None
            found = self._queues[name] = QueueRow(*row)
        return found

    def refresh(self, name: str) -> None:
        """Read a queue's row anew: this transaction has written to it."""
        self._queues.pop(name, None)
        self.find_queue(name)

    def count(self, queue: int) -> CounterChanges:
        """Return the counters that this transaction adds to."""
        counts = self._counts.get(queue)
        if counts is None:
            counts = self._counts[queue] = CounterChanges()
        return counts

    def ring(self, queue: QueueRow) -> RingPosition:
        """Return a queue's ring; its `back` is 0 while the queue never had a key."""
        ring = self._rings.get(queue.number)
        if ring is None:
            ring = self._rings[queue.number] = RingPosition(queue)
        return ring

    def depth(self, queue: QueueRow) -> int:
        """Return the unfinished jobs of a queue, this transaction's included."""
        counts = self._counts.get(queue.number)
        return queue.depth + (counts.depth if counts else 0)

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
        """Store what was added up."""
        by_number = {row.number: row for row in self._queues.values()}
        for number, counts in self._counts.items():
            row = by_number[number]
            drained = row.drain_rate(self.now) * DRAIN_TAU + counts.drained
            self.run(
                "queue_count",
                (counts.depth, counts.records, counts.dead, drained, self.now, counts.bytes, counts.shed, number),
            )
        if self.key_weights:
            self.run("lanes_weigh", (msgspec.json.encode(list(self.key_weights.items())).decode(),))
        for number, ring in self._rings.items():
            if ring.changed:
                self.run("queue_ring", (ring.back, ring.turn, ring.tat, number))
        self._counts.clear()
        self._queues.clear()
        self._rings.clear()
        self.key_weights.clear()

    def fence_counts(self, fence: Fence) -> bool:
        """Tell whether a fence that changed nothing was applied before: its job still carries its token."""
        row = self.row("fence_row", (fence.row,))
        return row is not None and abs(row[0]) == fence.token

    def names(self) -> Iterable[str]:
        """Return the names of all queues."""
        return [name for (name,) in self.rows("queue_names")]
