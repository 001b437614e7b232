"""Publishes messages one by one, where an answer depends on the ones before: near a bound, or at a held key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from outlast.brokers.sqlite import bounds, key_states
from outlast.brokers.sqlite.job_rows import (
    KeyRows,
    insert,
    insert_successor,
    key_row_of,
    kind_text,
    unique_holder,
    weigh,
)
from outlast.brokers.sqlite.loads import ends_of, wait_refusal
from outlast.brokers.sqlite.retention import keep_within
from outlast.brokers.sqlite.transaction import RUNNING, WAITING, QueueRow, Transaction
from outlast.core.admission import is_bounded, refusal
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Published, TooLarge
from outlast.core.unique import Unique

__all__ = ["BLOCKED", "publish_singly"]

BLOCKED: Final = (RUNNING, WAITING)
"""The states of a job that holds its unique key and may have a successor."""


def publish_singly(
    tx: Transaction,
    messages: Sequence[Message],
    queues: Mapping[str, QueueRow],
    key_rows: KeyRows,
    *,
    bounded: bool,
    replacing: bool,
) -> list[Published]:
    """Write the messages in order; return an answer for each. bounded: bounds apply."""
    answers = [
        _publish(tx, each, queues[each.queue], key_rows, bounded=bounded, replacing=replacing) for each in messages
    ]
    # Each shed or replaced job leaves a record.
    for name in {
        message.queue
        for message, answer in zip(messages, answers, strict=True)
        if isinstance(answer, Accepted) and answer is not ACCEPTED
    }:
        keep_within(tx, tx.queue(name))
    return answers


def _publish(
    tx: Transaction, message: Message, queue: QueueRow, key_rows: KeyRows, *, bounded: bool, replacing: bool
) -> Published:
    """Write one message; a known id, then a held unique key, refuses it before any bound does."""
    if (known := tx.row("by_id", (message.id,))) is not None:
        return Exists(message.id, "id", kind_text(known[10]))
    replaced: tuple[str, int] | None = None
    follows = False
    if message.unique is not None and (holder := unique_holder(tx, message, queue)) is not None:
        if not replacing:
            return Exists(holder.id, "unique", holder.kind)
        newest = _successor(tx, message.unique, queue) if holder.state in BLOCKED else None
        meeting = holder.meets(message.unique)
        if meeting == "exists" or (newest is not None and not message.unique.replace):
            id_, _, kind = newest or (holder.id, 0, holder.kind)
            return Exists(id_, "unique", kind)
        follows = meeting == "follows"
        replaced = (holder.id, holder.seq) if not follows else newest and newest[:2]
    key_row = key_row_of(message, queue.number, key_rows)
    shed: tuple[str, ...] = ()
    if bounded and message.max_wait is not None and message.run_at <= tx.now:
        late = wait_refusal(tx, queue, message, key_row)
        if late is not None:
            return late
    if bounded and queue.limits is not None and is_bounded(queue.rules):
        room = bounds.room(tx, queue, message, key_row, None if replaced is None else replaced[1])
        if isinstance(room, TooLarge):
            return room
        if isinstance(room, str):
            return refusal(room, queue.rules, tx.depth(queue), ends_of(tx, queue))
        for waiter in room:
            bounds.drop(tx, queue, waiter.row, "shed")
        shed = tuple(waiter.id for waiter in room)
    if replaced is not None:
        bounds.drop(tx, queue, replaced[1], "replaced")
    if follows:
        assert holder is not None
        insert_successor(tx, message, queue, key_rows, holder.id)
    else:
        insert(tx, [message], {message.queue: queue}, key_rows)
    tx.count(queue.number).depth += 1
    weigh(tx, message, queue, key_rows)
    if message.run_at <= tx.now and not follows:
        key_states.put(tx, queue, key_row)
    return Accepted(None if replaced is None else replaced[0], shed) if replaced or shed else ACCEPTED


def _successor(tx: Transaction, unique: Unique, queue: QueueRow) -> tuple[str, int, str] | None:
    """Return id, seq and kind of the job that waits for a unique key."""
    row = tx.row("successor", (queue.number, unique.key))
    return None if row is None else (row[0], row[1], kind_text(row[2]))
