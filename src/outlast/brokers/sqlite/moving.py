"""Jobs that come from another store or go to one."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, structs

from outlast.brokers.sqlite.job_rows import Meta
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.transaction import ENDED, PRIORITIES, RUNNING, WAITING, Transaction
from outlast.core.bounds import LAST_MOMENT
from outlast.core.ids import queue_of
from outlast.core.message import Failure, Message
from outlast.core.moving import Adopt, Parcel
from outlast.core.settlement import Exists, TooLarge
from outlast.core.store.control import Answer

__all__ = ["MOVED_TOKEN", "adopt", "hold", "moved", "unhold"]

MOVED_TOKEN: Final = -(2**62)
"""The token of a job that lives in another store now: none is given out as this, and a tombstone keeps it."""
_failure: Final = msgspec.json.Decoder(Failure).decode
_meta: Final = msgspec.json.Decoder(Meta).decode


def hold(tx: Transaction, id_: str, why: str) -> Answer:
    """Set the job aside."""
    row = tx.row("by_id", (id_,))
    if row is None or row[6]:
        return Answer(ok=False, why="unknown")
    seq, state = row[0], row[2]
    if state >= ENDED:
        return Answer(ok=False, why="ended")
    if state == RUNNING:
        return Answer(ok=False, why="running")
    if state == WAITING and tx.one("held_why", (seq,)) != why:
        return Answer(ok=False, why="held")
    if state != WAITING:
        tx.run("hold", (why, seq))
    return Answer(ok=True, changed=1, parcel=_parcel(tx, seq, id_))


def _parcel(tx: Transaction, seq: int, id_: str) -> Parcel:
    row = tx.row("parcel", (seq, tx.now))
    assert row is not None
    (
        kind, at, rank, attempt, crashes, enqueued_at, run_at, expires_at, priority, key, uniq, meta, body, failed,
    ) = row  # fmt: skip
    kept = _meta(meta) if meta is not None else Meta()
    message = Message(
        id=id_,
        queue=queue_of(id_),
        kind=kind,
        args=Raw(body.encode()),
        enqueued_at=enqueued_at,
        run_at=run_at,
        priority=PRIORITIES[priority],
        key=key,
        unique=kept.unique if uniq is not None else None,
        expires_at=expires_at,
        headers=kept.headers,
        redacted=kept.redacted,
    )
    failures = tuple(_failure(text) for (text,) in tx.rows("failures", (seq,))) if failed else ()
    return Parcel(
        message=message,
        at=run_at if at is None else at,
        rank=rank,
        attempt=attempt,
        crashes=crashes,
        failures=failures,
    )


def adopt(tx: Transaction, command: Adopt) -> Answer:
    """Keep a job of another store, set aside."""
    parcel, message = command.parcel, command.parcel.message
    row = tx.row("by_id", (message.id,))
    if row is not None and row[1] == MOVED_TOKEN:
        if not row[6]:
            tx.count(row[3]).records -= 1
        tx.run("job_delete", (row[0],))
    # As one that is far from due: it must not be ready for a moment.
    (answer,) = publish(tx, [structs.replace(message, run_at=LAST_MOMENT)], forced=True, replacing=False)
    match answer:
        case Exists(by="id"):
            return Answer(ok=True)
        case Exists():
            return Answer(ok=False, why="conflict")
        case TooLarge():
            return Answer(ok=False, why="too-large")
    row = tx.row("by_id", (message.id,))
    assert row is not None
    seq = row[0]
    tx.run("adopt", (parcel.at, message.run_at, parcel.rank, parcel.attempt, parcel.crashes, command.why, seq))
    for failure in parcel.failures:
        tx.run("failure_add", (seq, msgspec.json.encode(failure).decode()))
        tx.run("failure_mark", (seq,))
    return Answer(ok=True, changed=1)


def moved(tx: Transaction, seq: int) -> None:
    """Mark a job that has just ended here."""
    tx.run("moved", (MOVED_TOKEN, seq))


def unhold(tx: Transaction, seq: int) -> Answer:
    """Let the job wait again."""
    tx.run("unhold", (seq, tx.now))
    return Answer(ok=True, changed=1)
