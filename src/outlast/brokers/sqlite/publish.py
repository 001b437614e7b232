"""Keeping messages: one statement a batch, and one by one only where an answer depends on the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from outlast.brokers.sqlite import lanes
from outlast.brokers.sqlite.transaction import PRIORITY_NUMBER, READY, SCHEDULED, QueueRow, Transaction
from outlast.core.message import Message, rank_of
from outlast.core.settlement import ACCEPTED, Exists, Full, Published, TooLarge
from outlast.core.unique import Unique

__all__ = ["Meta", "publish", "retry_after"]

_encode: Final = msgspec.json.Encoder().encode
Keys = dict[tuple[int, str], int]
"""The lane of each (queue, key)."""


class Meta(Struct, frozen=True, omit_defaults=True):
    """What few jobs carry, kept as one JSON text."""

    headers: dict[str, str] | None = None
    redacted: tuple[str, ...] = ()
    unique: Unique | None = None


def publish(tx: Transaction, messages: Sequence[Message], *, forced: bool = False) -> list[Published]:
    """Keep `messages` and return an answer for each. forced: follow-ups, which pass a full queue."""
    queues = {message.queue: tx.queue(message.queue) for message in messages}
    answers: list[Published] = [ACCEPTED] * len(messages)
    fitting = _too_large(tx, messages, answers)
    tx.work = True
    for name in {message.queue for message in messages if message.unique is not None}:
        tx.run("queue_uniques", (queues[name].number,))
    keys = [(queues[message.queue].number, message.unique.key) for message in messages if message.unique is not None]
    if keys:
        tx.run("uniq_lapse", (_encode(keys).decode(), tx.now))
    lane_of = _lanes(tx, messages, queues)
    if not forced and _near_bound(tx, queues, [messages[index] for index in fitting]):
        for index in fitting:
            message = messages[index]
            answers[index] = _publish_one(tx, message, queues[message.queue], lane_of)
        _join(tx, messages, answers, queues=queues, lane_of=lane_of)
        return answers
    inserted = _insert(tx, [messages[index] for index in fitting], queues, lane_of)
    if inserted != len(fitting):
        # A new row's number is one above the highest, and nothing was deleted since: these are the last ones.
        before = tx.one("last_seq") - inserted
        _explain(tx, messages, fitting, answers, queues=queues, lane_of=lane_of, before=before)
    for index in fitting:
        if answers[index] is ACCEPTED:
            tx.count(queues[messages[index].queue].number).depth += 1
    _join(tx, messages, answers, queues=queues, lane_of=lane_of)
    return answers


def _lanes(tx: Transaction, messages: Sequence[Message], queues: dict[str, QueueRow]) -> Keys:
    """Return the lanes of the messages' keys."""
    keys = dict.fromkeys((queues[message.queue].number, message.key) for message in messages if message.key is not None)
    if not keys:
        return {}
    for name in {message.queue for message in messages if message.key is not None}:
        ring = tx.ring(queues[name])
        if not ring.back:
            ring.back, ring.changed = 1, True
    return lanes.find(tx, list(keys))


def _join(
    tx: Transaction,
    messages: Sequence[Message],
    answers: Sequence[Published],
    *,
    queues: dict[str, QueueRow],
    lane_of: Keys,
) -> None:
    """Let the keys of what was accepted, and is due, stand in line."""
    if lane_of:
        standing: dict[str, list[int]] = {}
        for message, answer in zip(messages, answers, strict=True):
            if message.key is not None and answer is ACCEPTED and message.run_at <= tx.now:
                lane = lane_of[queues[message.queue].number, message.key]
                standing.setdefault(message.queue, []).append(lane)
        for name, each in standing.items():
            lanes.join(tx, queues[name], each)


def _too_large(tx: Transaction, messages: Sequence[Message], answers: list[Published]) -> list[int]:
    """Answer the messages that are over the limit; return where the others are."""
    limit = tx.max_body
    fitting = []
    for index, message in enumerate(messages):
        size = memoryview(message.args).nbytes
        if size > limit:
            answers[index] = TooLarge(size, limit)
        else:
            fitting.append(index)
    return fitting


def _near_bound(tx: Transaction, queues: dict[str, QueueRow], messages: Sequence[Message]) -> bool:
    return any(row.max_depth is not None and tx.depth(row) + len(messages) > row.max_depth for row in queues.values())


def _insert(tx: Transaction, messages: Sequence[Message], queues: dict[str, QueueRow], lane_of: Keys) -> int:
    """Insert all that no id or unique key forbids; return how many went in."""
    if not messages:
        return 0
    now = tx.now
    numbers = {name: row.number for name, row in queues.items()}
    plain = [
        (
            message.id,
            numbers[message.queue],
            rank_of(message.run_at, message.priority),
            message.kind,
            message.enqueued_at,
            message.run_at,
            PRIORITY_NUMBER[message.priority],
            _text(message),
        )
        for message in messages
        if message.run_at <= now
        and message.unique is None
        and message.expires_at is None
        and message.headers is None
        and not message.redacted
    ]
    # All or none go the short way: rows of one rank are served in the order of insertion.
    if len(plain) < len(messages):
        full = [_full_row(message, numbers, now, _lane(message, numbers, lane_of)) for message in messages]
        return tx.run("insert_full", (_encode(full).decode(),))
    if not lane_of:
        return tx.run("insert_plain", (_encode(plain).decode(),))
    keyed = [(*row, _lane(message, numbers, lane_of)) for row, message in zip(plain, messages, strict=True)]
    return tx.run("insert_keyed", (_encode(keyed).decode(),))


def _lane(message: Message, numbers: dict[str, int], lane_of: Keys) -> int | None:
    return None if message.key is None else lane_of[numbers[message.queue], message.key]


def _text(message: Message) -> str:
    return bytes(message.args).decode()


def _full_row(message: Message, numbers: dict[str, int], now: float, lane: int | None) -> tuple[Any, ...]:
    unique = message.unique
    meta = None
    if unique is not None or message.headers is not None or message.redacted:
        meta = _encode(Meta(message.headers, message.redacted, unique)).decode()
    due = message.run_at <= now
    return (
        message.id,
        numbers[message.queue],
        READY if due else SCHEDULED,
        rank_of(message.run_at, message.priority),
        None if due else message.run_at,
        message.kind,
        message.enqueued_at,
        message.run_at,
        message.expires_at,
        PRIORITY_NUMBER[message.priority],
        lane,
        unique.key if unique else None,
        message.enqueued_at + unique.seconds if unique and unique.seconds is not None else None,
        1 if unique and unique.seconds is None and unique.until == "start" else None,
        meta,
        _text(message),
    )


def _explain(
    tx: Transaction,
    messages: Sequence[Message],
    fitting: Sequence[int],
    answers: list[Published],
    *,
    queues: dict[str, QueueRow],
    lane_of: Keys,
    before: int,
) -> None:
    """Say which of an inserted batch were passed over, and why; rows above `before` are the batch's own."""
    taken: set[str] = set()
    for index in fitting:
        message = messages[index]
        row = tx.row("by_id", (message.id,))
        if row is not None and row[0] > before and message.id not in taken:
            taken.add(message.id)
        elif row is not None:
            answers[index] = Exists(message.id, "id")
        else:
            answers[index] = _insert_one(tx, message, queues[message.queue], lane_of)
            if answers[index] is ACCEPTED:
                taken.add(message.id)


def _publish_one(tx: Transaction, message: Message, queue: QueueRow, lane_of: Keys) -> Published:
    """Keep one message of a queue that may be full: a known id or a held key answers first."""
    if tx.row("by_id", (message.id,)) is not None:
        return Exists(message.id, "id")
    holder = _unique_holder(tx, message, queue)
    if holder is not None:
        return Exists(holder, "unique")
    if queue.max_depth is not None and tx.depth(queue) >= queue.max_depth:
        return Full(retry_after(queue, tx.now))
    _insert(tx, [message], {message.queue: queue}, lane_of)
    tx.count(queue.number).depth += 1
    return ACCEPTED


def _insert_one(tx: Transaction, message: Message, queue: QueueRow, lane_of: Keys) -> Published:
    holder = _unique_holder(tx, message, queue)
    if holder is not None:
        return Exists(holder, "unique")
    _insert(tx, [message], {message.queue: queue}, lane_of)
    return ACCEPTED


def _unique_holder(tx: Transaction, message: Message, queue: QueueRow) -> str | None:
    """Return the id of the job that holds the message's unique key; free the key when its time has passed."""
    if message.unique is None:
        return None
    row = tx.row("uniq_holder", (queue.number, message.unique.key))
    if row is None:
        return None
    holder, seq, until = row
    if until is not None and until <= tx.now:
        tx.run("uniq_free", (seq,))
        return None
    return str(holder)


def retry_after(queue: QueueRow, now: float) -> float:
    """Return the seconds until a tenth of a full queue is drained at the measured rate: 1 to 60, 60 if none is."""
    rate = queue.drain_rate(now)
    room = max(1.0, (queue.max_depth or 0) / 10)
    return min(60.0, max(1.0, room / rate)) if rate > 1e-6 else 60.0
