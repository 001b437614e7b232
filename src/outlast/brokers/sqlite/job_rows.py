"""Rows of new jobs: a whole batch is inserted by one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from outlast.brokers.sqlite.transaction import PRIORITY_NUMBER, READY, SCHEDULED, QueueRow, Transaction
from outlast.core.message import Message, rank_of
from outlast.core.unique import Unique

__all__ = ["KeyRows", "Meta", "insert", "key_row_of", "size_of", "unique_holder", "weigh"]

_encode: Final = msgspec.json.Encoder().encode
KeyRows = Mapping[tuple[int, str], int]
"""The number of the row of each (queue, key)."""


class Meta(Struct, frozen=True, omit_defaults=True):
    """What few jobs carry, kept as one JSON text."""

    headers: dict[str, str] | None = None
    redacted: tuple[str, ...] = ()
    unique: Unique | None = None


def size_of(message: Message) -> int:
    """Return the bytes of a message's arguments."""
    return memoryview(message.args).nbytes


def key_row_of(message: Message, queue: int, key_rows: KeyRows) -> int | None:
    """Return the row of the message's key in queue number `queue`, None for a message without one."""
    return None if message.key is None else key_rows[queue, message.key]


def weigh(tx: Transaction, message: Message, queue: QueueRow, key_rows: KeyRows) -> None:
    """Count the bytes of a job that was accepted, where they are counted."""
    if queue.bytes is not None:
        tx.weigh(queue, key_row_of(message, queue.number, key_rows), size_of(message))


def unique_holder(tx: Transaction, message: Message, queue: QueueRow) -> tuple[str, int, int] | None:
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


def insert(tx: Transaction, messages: Sequence[Message], queues: Mapping[str, QueueRow], key_rows: KeyRows) -> int:
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
    # All or none are inserted as plain rows: rows of one rank are served in the order of insertion.
    if len(plain) < len(messages):
        full = [_full_row(message, numbers[message.queue], now, key_rows) for message in messages]
        return tx.run("insert_full", (_encode(full).decode(),))
    if not key_rows:
        return tx.run("insert_plain", (_encode(plain).decode(),))
    keyed = [
        (*row, key_row_of(message, numbers[message.queue], key_rows))
        for row, message in zip(plain, messages, strict=True)
    ]
    return tx.run("insert_keyed", (_encode(keyed).decode(),))


def _text(message: Message) -> str:
    return bytes(message.args).decode()


def _full_row(message: Message, queue: int, now: float, key_rows: KeyRows) -> tuple[Any, ...]:
    unique = message.unique
    meta = None
    if unique is not None or message.headers is not None or message.redacted:
        meta = _encode(Meta(message.headers, message.redacted, unique)).decode()
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
