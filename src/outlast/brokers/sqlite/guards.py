"""Keeps the shared state of guards in the file, one row each; a change must follow on the stored revision."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from outlast.brokers.sqlite.transaction import Transaction, json_of
from outlast.brokers.sqlite.unreadable import fetch_named
from outlast.core.guards.record import UNREADABLE_GUARD, GuardRecord, GuardsView, legible, rebased
from outlast.core.unreadable import READ_ERRORS

__all__ = ["guards", "swap"]

logger = logging.getLogger("outlast.sqlite")
_decoder: Final = msgspec.json.Decoder(GuardRecord)


def guards(db: apsw.Connection, clock: str, now: float) -> GuardsView:
    """Return all records by name. clock: the id of this boot; now: its monotonic time."""
    found = (_read(name, body) for name, body in fetch_named(db, "guards", ()))
    return GuardsView(now, clock, tuple(rebased(record, clock, now) for record in found if record is not None))


def swap(tx: Transaction, records: Sequence[GuardRecord]) -> list[bool]:
    """Store the records that follow on the stored revision."""
    return [_swap(tx, record) for record in records]


def _swap(tx: Transaction, record: GuardRecord) -> bool:
    rows = fetch_named(tx.db, "guard", (record.name,))
    stored = _read(*rows[0]) if rows else None
    if record.revision != (0 if stored is None else stored.revision) + 1:
        return False
    tx.run("guard_put", (record.name, json_of(record)))
    tx.changes.add("guard")
    return True


def _read(name: object, body: object) -> GuardRecord | None:
    """Return a record, None for one that cannot be read."""
    try:
        if not isinstance(body, str):
            raise TypeError("no text")
        return legible(_decoder.decode(body), name)
    except READ_ERRORS as error:
        logger.error(UNREADABLE_GUARD, name, error)  # noqa: TRY400
        return None
