"""Bounds of queues and keys: what core.admission asks of the file, the bytes that are counted, and who makes room."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Final, Literal

import apsw
import msgspec

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.job_rows import KeyRows, size_of
from outlast.brokers.sqlite.transaction import CANCELLED, ENDED, EXPIRED, QueueRow, Transaction
from outlast.core.admission import LINES, WINDOW, Newcomer, Used, Waiter, is_bounded, make_room, urgency
from outlast.core.message import Message
from outlast.core.settlement import FullBound, TooLarge
from outlast.core.topology import Queue

__all__ = ["cancel_job", "drop", "may_not_fit", "room", "weigh_all", "weigh_ends", "weigh_job"]

_NO_ROW: Final = -1
"""The number of no row."""


def may_not_fit(tx: Transaction, queue: QueueRow, messages: Sequence[Message], key_rows: KeyRows) -> bool:
    """Tell whether any of a batch for one queue may meet a bound, so that they are to be looked at one by one."""
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
    """Return which jobs to shed for a message, or the bound that keeps it out. replaced: the row that it replaces."""
    newcomer = Newcomer(size_of(message), urgency(message.priority), key_row is not None)
    waiting = SqliteWaitingJobs(tx, queue, key_row, _NO_ROW if replaced is None else replaced)
    return make_room(queue.rules, newcomer, tx.now, waiting)


class SqliteWaitingJobs:
    """One queue's waiting jobs as a new job with the key of `key_row` finds them, without the row that it replaces."""

    __slots__ = ("_key_row", "_queue", "_tx", "_without")

    def __init__(self, tx: Transaction, queue: QueueRow, key_row: int | None, without: int) -> None:
        self._tx = tx
        self._queue = queue
        self._key_row = key_row
        self._without = without

    def used(self) -> Used:
        """Return what the queue holds."""
        depth, size = self._tx.depth(self._queue), self._tx.weight(self._queue)
        if self._without == _NO_ROW:
            return Used(depth, size)
        return Used(depth - 1, size - self._gone()[1])

    def used_by_key(self) -> Used:
        """Return what the new job's key holds in the queue; counted as far as shedding its jobs could matter."""
        each = self._queue.rules.per_key
        depth = size = 0
        if each.max_depth is not None:
            depth = self._tx.one("lane_depth", (self._key_row, each.max_depth + WINDOW + 2))
        if each.max_bytes is not None:
            assert self._key_row is not None
            size = self._tx.one("lane_bytes", (self._key_row,)) + self._tx.key_weights.get(self._key_row, 0)
        if self._without != _NO_ROW and (gone := self._gone())[0] == self._key_row:
            return Used(depth - 1, size - gone[1])
        return Used(depth, size)

    def _gone(self) -> tuple[int | None, int]:
        key_row, size = self._tx.one("weight_of", (self._without,))
        return key_row, size

    def own(self, most: int) -> Sequence[Waiter]:
        """Return the first jobs of the new job's key, with what is due by now."""
        key_states.promote(self._tx, self._queue)
        return self._first(self._key_row, most)

    def other(self) -> Sequence[Waiter]:
        """Return the first jobs of that of the other keys looked at which has most."""
        tx, queue = self._tx, self._queue
        held_back = tx.rows("lanes_front", (queue.number, LINES, WINDOW))
        ring = tx.rows("ring_front", (queue.number, LINES, WINDOW))
        keyless = tx.one("ready_count", (queue.number, WINDOW))
        if keyless:
            ring = sorted([*ring, (None, tx.ring(queue).turn, keyless)], key=_turn)[:LINES]
        longest, most = None, 0
        for key_row, _, length in [*held_back, *ring]:
            if key_row != self._key_row and length > most:
                longest, most = key_row, length
        return () if most == 0 else self._first(longest, WINDOW)

    def _first(self, key_row: int | None, most: int) -> Sequence[Waiter]:
        if key_row is None:
            rows = self._tx.rows("line_front", (self._queue.number, most + 1))
        else:
            rows = self._tx.rows("lane_front", (key_row, most + 1))
        found = [Waiter(id_, priority, since, size, seq) for seq, id_, priority, since, size in rows]
        return [waiter for waiter in found if waiter.row != self._without][:most]


def _turn(key: tuple[int | None, int, int]) -> int:
    return key[1]


def drop(tx: Transaction, queue: QueueRow, seq: int, reason: Literal["shed", "replaced"]) -> None:
    """End a waiting job for another one that comes in: it is not counted as drained, and lets go of its key."""
    weigh_job(tx, queue, seq, -1)
    state = EXPIRED if reason == "shed" else CANCELLED
    tx.run("drop", (state, reason, tx.now + queue.record_ttl, tx.now, seq))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.records += 1
    counts.shed += reason == "shed"
    tx.ended = True


def cancel_job(tx: Transaction, queue: QueueRow, seq: int) -> None:
    """End a job that nobody runs because somebody wanted it cancelled, or because it lives elsewhere now."""
    weigh_job(tx, queue, seq, -1)
    tx.run("cancel_waiting", (tx.now + queue.record_ttl, tx.now, seq))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.records += 1
    counts.drained += 1
    tx.ended = True


def weigh_job(tx: Transaction, queue: QueueRow, seq: int, change: int) -> None:
    """Count the bytes of an unfinished job (`change` 1) or count them no more (-1), where bytes are counted."""
    if queue.bytes is not None:
        key_row, size = tx.one("weight_of", (seq,))
        tx.weigh(queue, key_row, change * size)


def weigh_ends(tx: Transaction, queue: QueueRow, seqs: Sequence[int], token: int) -> None:
    """Count the bytes of those of these jobs no more that this token is about to end."""
    if queue.bytes is not None:
        for key_row, size in tx.rows("weights_of", (apsw.carray(array.array("q", seqs)), token)):
            tx.weigh(queue, key_row, -size)


def weigh_all(tx: Transaction, before: Queue, queue: QueueRow) -> None:
    """Begin to count bytes where a bound has come to ask for them, and stop when none asks any more."""
    rules = queue.rules
    asked, asks = ((each.max_bytes is not None, each.per_key.max_bytes is not None) for each in (before, rules))
    if asked == asks:
        return
    tx.count(queue.number).bytes = 0  # what this transaction has done already is in what is now read
    if not any(asks):
        tx.run("queue_bytes", (None, queue.number))
    else:
        weights = tx.rows("weights", (queue.number, ENDED))
        tx.run("queue_bytes", (sum(size for _, size in weights), queue.number))
        tx.run("lanes_unweighed", (queue.number,))
        of_keys = [(key_row, size) for key_row, size in weights if key_row is not None]
        tx.run("lanes_weigh", (msgspec.json.encode(of_keys).decode(),))
        for key_row, _ in of_keys:
            tx.key_weights.pop(key_row, None)
    tx.refresh(queue.name)
