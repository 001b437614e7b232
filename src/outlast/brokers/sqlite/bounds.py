"""Applies the bounds of queues and keys: counts bytes, answers core.admission from the file, and ends shed jobs."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final, Literal

from msgspec import Struct

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.job_rows import KeyRows, size_of
from outlast.brokers.sqlite.totals import end_of
from outlast.brokers.sqlite.transaction import CANCELLED, ENDED, EXPIRED, QueueRow, Transaction, array_of, json_of
from outlast.core.admission import LINES, WINDOW, Newcomer, Used, Waiter, is_bounded, make_room, urgency
from outlast.core.message import Message
from outlast.core.settlement import FullBound, TooLarge
from outlast.core.topology import Queue

__all__ = ["cancel_job", "drop", "may_not_fit", "room", "weigh_all", "weigh_ends", "weigh_job"]

_NO_ROW: Final = -1
"""The number of no row."""


def may_not_fit(tx: Transaction, queue: QueueRow, messages: Sequence[Message], key_rows: KeyRows) -> bool:
    """Return whether a message of a batch for one queue may reach a bound: then they are published one by one."""
    if queue.limits is None or not is_bounded(queue.rules):
        return False
    rules, each = queue.rules, queue.rules.per_key
    if rules.max_age is not None or each.max_age is not None:
        return True
    if _over(SqliteWaitingJobs(tx, queue, None, _NO_ROW).used(), rules.max_depth, rules.max_bytes, messages):
        return True
    if each.max_depth is None and each.max_bytes is None:
        return False
    by_key: dict[str, list[Message]] = {}
    for message in messages:
        if message.key is not None:
            by_key.setdefault(message.key, []).append(message)
    return any(
        _over(
            SqliteWaitingJobs(tx, queue, key_rows[queue.number, key], _NO_ROW).used_by_key(),
            each.max_depth,
            each.max_bytes,
            group,
        )
        for key, group in by_key.items()
    )


def _over(used: Used, max_depth: int | None, max_bytes: int | None, messages: Sequence[Message]) -> bool:
    if max_depth is not None and used.depth + len(messages) > max_depth:
        return True
    return max_bytes is not None and used.size + sum(size_of(message) for message in messages) > max_bytes


def room(
    tx: Transaction, queue: QueueRow, message: Message, key_row: int | None, replaced: int | None
) -> list[Waiter] | FullBound | TooLarge:
    """Return the jobs to shed for a message, or the bound that refuses it. replaced: the row that it replaces."""
    newcomer = Newcomer(size_of(message), urgency(message.priority), key_row is not None)
    waiting = SqliteWaitingJobs(tx, queue, key_row, _NO_ROW if replaced is None else replaced)
    return make_room(queue.rules, newcomer, tx.now, waiting)


class SqliteWaitingJobs(Struct):
    """The waiting jobs of one queue, for a new job with the key of `key_row` that replaces the row `without`."""

    tx: Transaction
    queue: QueueRow
    key_row: int | None
    without: int

    def used(self) -> Used:
        """Return the depth and bytes of the queue."""
        depth, size = self.tx.depth(self.queue), self.tx.weight(self.queue)
        if self.without == _NO_ROW:
            return Used(depth, size)
        return Used(depth - 1, size - self._replaced()[1])

    def used_by_key(self) -> Used:
        """Return the depth and bytes of the new job's key, counted only as far as shedding its jobs can matter."""
        each = self.queue.rules.per_key
        depth = size = 0
        if each.max_depth is not None:
            depth = self.tx.one("lane_depth", (self.key_row, each.max_depth + WINDOW + 2))
        if each.max_bytes is not None:
            assert self.key_row is not None
            size = self.tx.one("lane_bytes", (self.key_row,)) + self.tx.key_weights.get(self.key_row, 0)
        if self.without != _NO_ROW and (replaced := self._replaced())[0] == self.key_row:
            return Used(depth - 1, size - replaced[1])
        return Used(depth, size)

    def _replaced(self) -> tuple[int | None, int]:
        key_row, size = self.tx.one("weight_of", (self.without,))
        return key_row, size

    def own(self, most: int) -> Sequence[Waiter]:
        """Return the first jobs of the new job's key, those that became due included."""
        key_states.promote(self.tx, self.queue)
        return self._first(self.key_row, most)

    def other(self) -> Sequence[Waiter]:
        """Return the first jobs of the other key that has most, among the keys that are read."""
        tx, queue = self.tx, self.queue
        parked = tx.rows("lanes_front", (queue.number, LINES, WINDOW))
        ring = tx.rows("ring_front", (queue.number, LINES, WINDOW))
        keyless = tx.one("ready_count", (queue.number, WINDOW))
        if keyless:
            ring = sorted([*ring, (None, tx.ring(queue).turn, keyless)], key=itemgetter(1))[:LINES]
        longest, most = None, 0
        for key_row, _, length in [*parked, *ring]:
            if key_row != self.key_row and length > most:
                longest, most = key_row, length
        return () if most == 0 else self._first(longest, WINDOW)

    def _first(self, key_row: int | None, most: int) -> Sequence[Waiter]:
        if key_row is None:
            rows = self.tx.rows("keyless_front", (self.queue.number, most + 1))
        else:
            rows = self.tx.rows("lane_front", (key_row, most + 1))
        found = [Waiter(id_, priority, since, size, seq) for seq, id_, priority, since, size in rows]
        return [waiter for waiter in found if waiter.row != self.without][:most]


def drop(tx: Transaction, queue: QueueRow, seq: int, reason: Literal["shed", "replaced", "expired"]) -> None:
    """End a waiting job in favour of a new one: it does not count as drained, and releases its unique key."""
    weigh_job(tx, queue, seq, -1)
    state = CANCELLED if reason == "replaced" else EXPIRED
    end_of(tx, queue, seq, reason)
    tx.run("drop", (state, reason, tx.now + queue.record_ttl, tx.now, seq))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.records += 1
    counts.shed += reason == "shed"
    tx.changes.add("ended")


def cancel_job(tx: Transaction, queue: QueueRow, seq: int, *, moved: bool = False) -> None:
    """End a job that is not running as cancelled, by a command or because it was moved to another store."""
    weigh_job(tx, queue, seq, -1)
    if not moved:
        end_of(tx, queue, seq, "cancelled")
    tx.run("cancel_waiting", (tx.now + queue.record_ttl, tx.now, seq, int(moved)))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.records += 1
    counts.drained += 1
    tx.changes.add("ended")


def weigh_job(tx: Transaction, queue: QueueRow, seq: int, change: Literal[1, -1]) -> None:
    """Add (`change` 1) or subtract (-1) the bytes of an unfinished job, where bytes are counted."""
    if queue.bytes is not None:
        key_row, size = tx.one("weight_of", (seq,))
        tx.weigh(queue, key_row, change * size)


def weigh_ends(tx: Transaction, queue: QueueRow, seqs: Sequence[int], token: int) -> None:
    """Subtract the bytes of those of these jobs that will end with this token; call it before they end."""
    if queue.bytes is not None:
        for key_row, size in tx.rows("weights_of", (array_of(seqs), token)):
            tx.weigh(queue, key_row, -size)


def weigh_all(tx: Transaction, before: Queue, queue: QueueRow) -> None:
    """Begin to count bytes when a bound needs them, and stop when no bound does any more."""
    counted, counts = (
        (each.max_bytes is not None, each.per_key.max_bytes is not None) for each in (before, queue.rules)
    )
    if counted == counts:
        return
    tx.count(queue.number).bytes = 0  # the sum that is read below contains the changes of this transaction
    if not any(counts):
        tx.run("queue_bytes", (None, queue.number))
    else:
        weights = tx.rows("weights", (queue.number, ENDED))
        tx.run("queue_bytes", (sum(size for _, size in weights), queue.number))
        tx.run("lanes_unweighed", (queue.number,))
        of_keys = [(key_row, size) for key_row, size in weights if key_row is not None]
        tx.run("lanes_weigh", (json_of(of_keys),))
        for key_row, _ in of_keys:
            tx.key_weights.pop(key_row, None)
    tx.refresh(queue.name)
