"""Keeping messages: one statement a batch, and one by one only where an answer depends on the one before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from outlast.brokers.sqlite import bounds, key_states
from outlast.brokers.sqlite.retention import keep_within
from outlast.brokers.sqlite.transaction import PARKED, PRIORITY_NUMBER, READY, SCHEDULED, QueueRow, Transaction
from outlast.core.admission import is_bounded, retry_after
from outlast.core.message import Message, rank_of
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Full, Published, TooLarge
from outlast.core.unique import Unique

__all__ = ["Meta", "publish"]

_encode: Final = msgspec.json.Encoder().encode
_WAITS: Final = (READY, SCHEDULED, PARKED)
Keys = dict[tuple[int, str], int]
"""The lane of each (queue, key)."""


class Meta(Struct, frozen=True, omit_defaults=True):
    """What few jobs carry, kept as one JSON text."""

    headers: dict[str, str] | None = None
    redacted: tuple[str, ...] = ()
    unique: Unique | None = None


def publish(
    tx: Transaction, messages: Sequence[Message], *, forced: bool = False, replacing: bool = True
) -> list[Published]:
    """Keep `messages` and return an answer for each.

    forced: follow-ups, which pass a full queue. replacing: a unique key may change hands.
    """
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
    batch = [messages[index] for index in fitting]
    if (keys and replacing and _replace(batch)) or (not forced and _near_bound(tx, queues, batch, lane_of)):
        one = _SinglePublisher(tx, lane_of, forced=forced, replacing=replacing)
        for index in fitting:
            answers[index] = one.publish(messages[index], queues[messages[index].queue])
        one.tidy()
        return answers
    inserted = _insert(tx, batch, queues, lane_of)
    if inserted != len(fitting):
        # A new row's number is one above the highest, and nothing was deleted since: these are the last ones.
        before = tx.one("last_seq") - inserted
        _explain(tx, messages, fitting, answers, queues=queues, lane_of=lane_of, before=before)
    accepted = [message for message, answer in zip(messages, answers, strict=True) if answer is ACCEPTED]
    for name, jobs in Counter([message.queue for message in accepted]).items():
        tx.count(queues[name].number).depth += jobs
    if any(row.bytes is not None for row in queues.values()):
        for message in accepted:
            _weigh(tx, message, queues[message.queue], lane_of)
    _join(tx, messages, answers, queues=queues, lane_of=lane_of)
    return answers


def _lanes(tx: Transaction, messages: Sequence[Message], queues: dict[str, QueueRow]) -> Keys:
    """Return the lanes of the messages' keys."""
    keys = list(dict.fromkeys([(each.queue, each.key) for each in messages if each.key is not None]))
    if not keys:
        return {}
    for name in {queue for queue, _ in keys}:
        ring = tx.ring(queues[name])
        if not ring.back:
            ring.back, ring.changed = 1, True
    return key_states.find(tx, [(queues[queue].number, key) for queue, key in keys])


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
            key_states.join(tx, queues[name], each)


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


def _replace(messages: Sequence[Message]) -> bool:
    return any(message.unique is not None and message.unique.replace for message in messages)


def _near_bound(tx: Transaction, queues: dict[str, QueueRow], messages: Sequence[Message], lane_of: Keys) -> bool:
    return any(
        row.limits is not None
        and bounds.may_not_fit(tx, row, [message for message in messages if message.queue == name], lane_of)
        for name, row in queues.items()
    )


def _weigh(tx: Transaction, message: Message, queue: QueueRow, lane_of: Keys) -> None:
    """Count the bytes of a job that was accepted, where they are counted."""
    if queue.bytes is not None:
        lane = None if message.key is None else lane_of[queue.number, message.key]
        tx.weigh(queue, lane, memoryview(message.args).nbytes)


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


class _SinglePublisher:
    """Keeps messages one by one, where an answer depends on those before: near a bound, or where keys change hands."""

    def __init__(self, tx: Transaction, lane_of: Keys, *, forced: bool, replacing: bool) -> None:
        self._tx = tx
        self._lane_of = lane_of
        self._forced = forced
        self._replacing = replacing
        self._dropped: dict[str, QueueRow] = {}

    def publish(self, message: Message, queue: QueueRow) -> Published:
        """Keep one message: a known id or a held key answers first."""
        tx = self._tx
        if tx.row("by_id", (message.id,)) is not None:
            return Exists(message.id, "id")
        replaced: tuple[str, int] | None = None
        if (holder := _unique_holder(tx, message, queue)) is not None:
            id_, seq, state = holder
            if not (self._replacing and message.unique is not None and message.unique.replace and state in _WAITS):
                return Exists(id_, "unique")
            replaced = id_, seq
        lane = None if message.key is None else self._lane_of[queue.number, message.key]
        shed: tuple[str, ...] = ()
        if not self._forced and queue.limits is not None and is_bounded(queue.rules):
            room = bounds.room(tx, queue, message, lane, None if replaced is None else replaced[1])
            if isinstance(room, TooLarge):
                return room
            if isinstance(room, str):
                return Full(retry_after(room, queue.rules, tx.depth(queue), queue.drain_rate(tx.now)), room)
            for waiter in room:
                self._drop(queue, waiter.row, "shed")
            shed = tuple(waiter.id for waiter in room)
        if replaced is not None:
            self._drop(queue, replaced[1], "replaced")
        _insert(tx, [message], {message.queue: queue}, self._lane_of)
        tx.count(queue.number).depth += 1
        _weigh(tx, message, queue, self._lane_of)
        if lane is not None and message.run_at <= tx.now:
            key_states.put(tx, queue, lane)
        return Accepted(None if replaced is None else replaced[0], shed) if replaced or shed else ACCEPTED

    def _drop(self, queue: QueueRow, seq: int, reason: Literal["shed", "replaced"]) -> None:
        bounds.drop(self._tx, queue, seq, reason)
        self._dropped[queue.name] = queue

    def tidy(self) -> None:
        """Keep the records of what was dropped within their cap."""
        for name in self._dropped:
            keep_within(self._tx, self._tx.queue(name))


def _insert_one(tx: Transaction, message: Message, queue: QueueRow, lane_of: Keys) -> Published:
    holder = _unique_holder(tx, message, queue)
    if holder is not None:
        return Exists(holder[0], "unique")
    _insert(tx, [message], {message.queue: queue}, lane_of)
    return ACCEPTED


def _unique_holder(tx: Transaction, message: Message, queue: QueueRow) -> tuple[str, int, int] | None:
    """Return id, seq and state of the job that holds the message's unique key; free a key whose time has passed."""
    if message.unique is None:
        return None
    row = tx.row("uniq_holder", (queue.number, message.unique.key))
    if row is None:
        return None
    holder, seq, until, state = row
    if until is not None and until <= tx.now:
        tx.run("uniq_free", (seq,))
        return None
    return holder, seq, state
