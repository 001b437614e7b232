"""Moves jobs to and from other stores: holds them, hands them over as parcels, and adopts parcels."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, structs

from outlast.brokers.sqlite.job_rows import RefusedCommand, find_job, is_successor, meta_of
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.transaction import ENDED, PRIORITIES, RUNNING, WAITING, Transaction, json_of
from outlast.brokers.sqlite.unreadable import failures, fetch, fetch_named
from outlast.core.bounds import LAST_MOMENT
from outlast.core.ids import queue_of
from outlast.core.message import Failure, Message
from outlast.core.moving import Adopt, Parcel
from outlast.core.settlement import Exists, TooLarge
from outlast.core.store.control import Answer
from outlast.core.unreadable import READ_ERRORS, json_text

__all__ = ["MOVED_TOKEN", "adopt", "hold"]

MOVED_TOKEN: Final = -(2**62)
"""The token of a job that was moved to another store: no hand-out has it, and a tombstone keeps it."""
_PARCEL: Final = (
    "kind", "at", "rank", "attempt", "crashes", "begun", "enqueued_at", "run_at", "expires_at", "priority",
    "(select key from lane where lane.lane = job.lane)", "uniq", "uniq_until", "meta", "body", "failed > 0",
)  # fmt: skip
_Parcel = tuple[
    str, float | None, int, int, int, int, float, float, float | None, int,
    str | None, str | None, float | None, str | None, str, int,
]  # fmt: skip
_failure: Final = msgspec.json.Decoder(Failure).decode


def hold(tx: Transaction, id_: str, why: str) -> Answer:
    """Hold a job back from running, for `why`; the answer has its parcel. Raise RefusedCommand."""
    seq, state, _, _ = find_job(tx, id_)
    if state >= ENDED:
        raise RefusedCommand("ended")
    if state == RUNNING:
        raise RefusedCommand("running")
    if state == WAITING and is_successor(tx, seq):
        raise RefusedCommand("successor")
    if state == WAITING and tx.one("held_why", (seq,)) != why:
        raise RefusedCommand("held")
    try:
        parcel = _parcel(tx, seq, id_)
    except READ_ERRORS:
        raise RefusedCommand("unreadable") from None
    if state != WAITING:
        tx.run("hold", (why, seq))
    return Answer(ok=True, changed=1, parcel=parcel)


def _parcel(tx: Transaction, seq: int, id_: str) -> Parcel:
    ((*row,),) = fetch(tx.db, _PARCEL, "from job where seq = ?", (seq,))
    (
        kind, at, rank, attempt, crashes, begun,
        enqueued_at, run_at, expires_at, priority, key, uniq, uniq_until, meta, body, failed,
    ) = msgspec.convert(row, _Parcel)  # fmt: skip
    kept = meta_of(meta)
    message = Message(
        id=id_,
        queue=queue_of(id_),
        kind=kind,
        args=Raw(body.encode()),
        enqueued_at=enqueued_at,
        run_at=run_at,
        priority=PRIORITIES[priority],
        key=key,
        unique=kept.unique if uniq is not None and (uniq_until is None or uniq_until > tx.now) else None,
        expires_at=expires_at,
        headers=kept.headers,
        redacted=kept.redacted,
    )
    told = failures(fetch_named(tx.db, "failures", (seq,)), _failure) if failed else ()
    effects = dict(fetch_named(tx.db, "notes", (seq,))).get("once") if failed else None
    return Parcel(
        message=message,
        at=run_at if at is None else at,
        rank=rank,
        attempt=attempt,
        crashes=crashes,
        begun=bool(begun) or attempt > 1 or crashes > 0,
        failures=tuple(told),
        effects=None if effects is None else json_text(effects),
    )


def adopt(tx: Transaction, command: Adopt) -> int:
    """Keep a job of another store, held; return 0 if it is here already. Raise RefusedCommand."""
    parcel, message = command.parcel, command.parcel.message
    row = tx.row("by_id", (message.id,))
    if row is not None and row[1] == MOVED_TOKEN:
        if not row[6]:
            tx.count(row[3]).records -= 1
        tx.run("job_delete", (row[0],))
    # Published as far from due, so that neither the job is ready nor its key in the ring.
    (answer,) = publish(tx, [structs.replace(message, run_at=LAST_MOMENT)], forced=True, replacing=False)
    match answer:
        case Exists(by="id", kind=kind) if kind == message.kind:
            return 0
        case Exists():
            raise RefusedCommand("conflict")
        case TooLarge():
            raise RefusedCommand("too-large")
    row = tx.row("by_id", (message.id,))
    assert row is not None
    seq = row[0]
    kept = (parcel.at, message.run_at, parcel.rank, parcel.attempt, parcel.crashes, command.why, seq, int(parcel.begun))
    tx.run("adopt", kept)
    for failure in parcel.failures:
        tx.run("failure_add", (seq, json_of(failure)))
        tx.run("failure_mark", (seq,))
    if parcel.effects is not None:
        tx.run("effects_keep", (seq, bytes(parcel.effects).decode()))
        tx.run("note_mark", (seq,))
    return 1
