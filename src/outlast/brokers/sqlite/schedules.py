"""Keeps schedules in the file, one row each: changed by core.ticking, in the transaction that publishes their ticks."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Final

import apsw
import msgspec

from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.transaction import Transaction
from outlast.brokers.sqlite.unreadable import fetch_named
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.store.control import Answer
from outlast.core.ticking import UNREADABLE_SCHEDULE, advanced, amended, check_sizes, enlisted, named
from outlast.core.unreadable import READ_ERRORS, ToldOnce

__all__ = ["advance", "amend", "enlist", "schedules"]

logger = logging.getLogger("outlast.sqlite")
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(ScheduleRecord)
_told: Final = ToldOnce()
"""By file and name; each scheduler reads the schedules again and again."""


def schedules(db: apsw.Connection) -> list[ScheduleRecord]:
    """Return all records by name."""
    rows = fetch_named(db, "schedules", ())
    return [record for name, body in rows if (record := _read(db, name, body)) is not None]


def enlist(tx: Transaction, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
    """Declare schedules; raise ConfigurationError before anything has changed."""
    records = [enlisted(_find(tx, entry.name), entry, tx.now) for entry in entries]
    for record in records:
        _put(tx, record)
    return records


def advance(tx: Transaction, moves: Sequence[ScheduleAdvance]) -> list[bool]:
    """Apply the moves whose expected revision still matches; raise BodyTooLarge before anything has changed."""
    check_sizes(moves, tx.max_body)
    return [_advance(tx, move) for move in moves]


def _advance(tx: Transaction, move: ScheduleAdvance) -> bool:
    record = _find(tx, move.name)
    if record is None or record.revision != move.expect:
        return False
    answers = publish(tx, move.messages, forced=True) if move.messages else []
    _put(tx, advanced(record, move, answers))
    return True


def amend(tx: Transaction, changes: Sequence[Amendment]) -> list[Answer]:
    """Apply the changes in order."""
    tx.changes.add("schedule")
    return [_amend(tx, change) for change in changes]


def _amend(tx: Transaction, change: Amendment) -> Answer:
    rows = fetch_named(tx.db, "schedule", (change.name,))
    record, answer = amended(_read(tx.db, *rows[0]) if rows else None, change, tx.now, damaged=bool(rows))
    if record is not None:
        _put(tx, record)
    elif answer.ok:
        tx.run("schedule_delete", (change.name,))
        _told.forget((tx.db.filename, change.name))
    return answer


def _find(tx: Transaction, name: str) -> ScheduleRecord | None:
    rows = fetch_named(tx.db, "schedule", (name,))
    return _read(tx.db, *rows[0]) if rows else None


def _read(db: apsw.Connection, name: Hashable, body: Hashable) -> ScheduleRecord | None:
    """Return a record, None for one that cannot be read: its schedule stands still until it is declared again."""
    where = (db.filename, name)
    try:
        if not isinstance(body, str):
            raise TypeError("no text")
        record = named(_decoder.decode(body), name)
    except READ_ERRORS as error:
        if _told.is_news(where, body):
            logger.error(UNREADABLE_SCHEDULE, name, name, error)  # noqa: TRY400
        return None
    _told.forget(where)
    return record


def _put(tx: Transaction, record: ScheduleRecord) -> None:
    tx.run("schedule_put", (record.name, _encoder.encode(record).decode()))
