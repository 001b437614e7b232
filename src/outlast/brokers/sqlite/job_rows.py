"""Inserts rows of new jobs, a whole batch by one statement, and finds the rows that messages and commands name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from outlast.brokers.sqlite.transaction import (
    PRIORITY_NUMBER,
    READY,
    SCHEDULED,
    STATES,
    WAITING,
    QueueRow,
    Transaction,
    json_of,
)
from outlast.core.ids import queue_of
from outlast.core.message import Message, rank_of
from outlast.core.store.control import Why
from outlast.core.succession import BLOCKED, Meeting, meets
from outlast.core.unique import Unique

__all__ = [
    "KeyHolder",
    "KeyRows",
    "RefusedCommand",
    "find_job",
    "insert",
    "insert_successor",
    "is_successor",
    "key_row_of",
    "meta_of",
    "size_of",
    "unique_holder",
    "weigh",
]

KeyRows = Mapping[tuple[int, str], int]
"""The number of the row of each (queue, key)."""


class Meta(Struct, frozen=True, omit_defaults=True):
    """Fields that few jobs have, kept as one JSON text."""

    headers: dict[str, str] | None = None
    redacted: tuple[str, ...] = ()
    unique: Unique | None = None


_NO_META: Final = Meta()
_meta: Final = msgspec.json.Decoder(Meta).decode


def meta_of(text: str | None) -> Meta:
    """Return the fields in the column `meta` of a job."""
    return _NO_META if text is None else _meta(text)


class RefusedCommand(Exception):
    """A command cannot be applied; `why` is for its answer."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why


def find_job(tx: Transaction, id_: str) -> tuple[int, int, int, QueueRow]:
    """Return seq, state, priority and queue of a job; raise RefusedCommand when the file has at most its id."""
    row = tx.row("by_id", (id_,))
    if row is None or row[6]:
        raise RefusedCommand("unknown")
    return row[0], row[2], row[5], tx.queue(queue_of(id_))


def is_successor(tx: Transaction, seq: int) -> bool:
    """Return whether a job waits for its unique key."""
    return bool(tx.one("is_successor", (seq,)))


def size_of(message: Message) -> int:
    """Return the bytes of a message's arguments."""
    return memoryview(message.args).nbytes


def key_row_of(message: Message, queue: int, key_rows: KeyRows) -> int | None:
    """Return the row of the message's key in queue number `queue`, None for a message without one."""
    return None if message.key is None else key_rows[queue, message.key]


def weigh(tx: Transaction, message: Message, queue: QueueRow, key_rows: KeyRows) -> None:
    """Add the bytes of an accepted job, where bytes are counted."""
    if queue.bytes is not None:
        tx.weigh(queue, key_row_of(message, queue.number, key_rows), size_of(message))


class KeyHolder(Struct, frozen=True):
    """The job that holds a unique key."""

    id: str
    seq: int
    state: int
    cancelling: bool
    kind: str

    def meets(self, unique: Unique) -> Meeting:
        """Return what becomes of a new job with this unique key, while the key has no successor."""
        return meets(STATES[self.state], replace=unique.replace, cancelling=self.cancelling)


def unique_holder(tx: Transaction, message: Message, queue: QueueRow) -> KeyHolder | None:
    """Return the job that holds the message's unique key; release a key that has expired."""
    if message.unique is None:
        return None
    row = tx.row("uniq_holder", (queue.number, message.unique.key))
    if row is None:
        return None
    id_, seq, until, state, cancelling, kind = row
    if until is not None and until <= tx.now:
        tx.run("uniq_free", (seq,))
        return None
    return KeyHolder(id_, seq, state, bool(cancelling), kind)


def insert(tx: Transaction, messages: Sequence[Message], queues: Mapping[str, QueueRow], key_rows: KeyRows) -> int:
    """Insert the messages whose id and unique key are free; return how many were inserted."""
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
    # Insert all as plain rows or none: jobs of one rank are handed out in the order of insertion.
    if len(plain) < len(messages):
        full = [_full_row(message, numbers[message.queue], now, key_rows) for message in messages]
        return tx.run("insert_full", (json_of(full),))
    if not key_rows:
        return tx.run("insert_plain", (json_of(plain),))
    keyed = [
        (*row, key_row_of(message, numbers[message.queue], key_rows))
        for row, message in zip(plain, messages, strict=True)
    ]
    return tx.run("insert_keyed", (json_of(keyed),))


def insert_successor(tx: Transaction, message: Message, queue: QueueRow, key_rows: KeyRows, holder: str) -> None:
    """Insert a message that waits for its unique key, which job `holder` has."""
    assert message.unique is not None
    key = message.unique.key
    tx.run("successor_stale", (queue.number, key))
    row = list(_full_row(message, queue.number, tx.now, key_rows))
    row[2], row[11] = WAITING, None
    tx.run("insert_full", (json_of([row]),))
    tx.run("succeeds", (key, BLOCKED + holder, message.id))


def _text(message: Message) -> str:
    return bytes(message.args).decode()


def _full_row(message: Message, queue: int, now: float, key_rows: KeyRows) -> tuple[Any, ...]:
    unique = message.unique
    meta = None
    if unique is not None or message.headers is not None or message.redacted:
        meta = json_of(Meta(message.headers, message.redacted, unique))
    due = message.run_at <= now
    return (
        message.id,
        queue,
        READY if due else SCHEDULED,
        rank_of(message.run_at, message.priority),
        None if due else message.run_at,
        message.kind,
        message.enqueued_at,
        message.run_at,
        message.expires_at,
        PRIORITY_NUMBER[message.priority],
        key_row_of(message, queue, key_rows),
        unique.key if unique else None,
        message.enqueued_at + unique.seconds if unique and unique.seconds is not None else None,
        1 if unique and unique.seconds is None and unique.until == "start" else None,
        meta,
        _text(message),
    )
