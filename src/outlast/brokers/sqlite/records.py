"""Reads the records of jobs, on a connection that never writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec
from msgspec import Raw

from outlast.brokers.sqlite.job_rows import meta_of
from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.transaction import ENDED, EXPIRED, PARKED, PRIORITIES, READY, SCHEDULED, STATES
from outlast.brokers.sqlite.unreadable import failures, fetch, fetch_named
from outlast.core.bounds import LAST_MOMENT
from outlast.core.message import Failure, Usage
from outlast.core.store.records import JobRecord
from outlast.core.unreadable import READ_ERRORS, UNREADABLE, check_time, json_text, shown_args, unreadable

__all__ = ["COLUMNS", "FROM", "Row", "get", "record"]

Row = tuple[Any, ...]
_Row = tuple[
    int, str, str, str, int, str | None, str, int, str | None, int, int, float, float,
    float | None, float | None, str | None, int, str | None, str | None, int, float | None, int,
]  # fmt: skip

COLUMNS: Final = (
    "job.seq", "job.id", "queue.name", "job.kind", "job.state", "job.reason", "job.body", "job.priority", "lane.key",
    "job.attempt", "job.crashes", "job.enqueued_at", "coalesce(case when job.state < 10 then job.at end, job.run_at)",
    "job.expires_at", "job.finished_at", "case when job.state = 1 then holder.id end", "job.cancelling", "job.result",
    "job.meta", "job.failed > 0", "job.at", "job.begun",
)  # fmt: skip
FROM: Final = (
    " from job {index} join queue using (queue) left join holder using (holder) "
    "left join lane on lane.lane = job.lane where job.body is not null"
)
_failure: Final = msgspec.json.Decoder(Failure).decode
_usage: Final = msgspec.json.Decoder(Usage).decode


def get(db: apsw.Connection, ids: Sequence[str], now: float) -> list[JobRecord | None]:
    """Return the records of `ids`, None for each unknown id."""
    found: list[JobRecord | None] = []
    for id_ in ids:
        rows = fetch(db, COLUMNS, f"{FROM.format(index='')} and job.id = ?", (id_,))
        if not rows and (link := db.execute(statements()["linked"], (id_,)).fetchone()) is not None:
            rows = fetch(db, COLUMNS, f"{FROM.format(index='')} and job.id = ?", link)
        found.append(record(db, rows[0], now) if rows else None)
    return found


def record(db: apsw.Connection, row: Row, now: float) -> JobRecord:
    """Return the record of a row of COLUMNS as of `now`, without redacted arguments.

    What cannot be read is left out, and told as the last failure.
    """
    try:
        return _record(db, row, now)
    except READ_ERRORS as error:
        return _unreadable(row, error)


def _record(db: apsw.Connection, row: Row, now: float) -> JobRecord:
    (
        seq, id_, queue, kind, state, reason, body, priority, key, attempt, crashes, enqueued_at, run_at,
        expires_at, finished_at, holder, cancelling, result, meta, failed, at, begun,
    ) = msgspec.convert(row, _Row)  # fmt: skip
    for name, time in (("accepted", enqueued_at), ("due", run_at), ("expires", expires_at), ("ended", finished_at)):
        check_time(time, name)
    kept = meta_of(meta)
    told: list[Failure] = []
    notes: dict[Any, Any] = {}
    if failed:
        told = failures(fetch_named(db, "failures", (seq,)), _failure)
        notes = dict(fetch_named(db, "notes", (seq,)))
    has_begun = bool(begun) or attempt > 1 or crashes > 0
    late = expires_at is not None and expires_at <= now and not has_begun
    if late and state in {READY, SCHEDULED, PARKED}:
        state, reason, finished_at = EXPIRED, "expired", expires_at
    elif state in {SCHEDULED, PARKED} and run_at <= now:
        state = READY
    extras: dict[str, Any] = {}
    for name, attribute, value, read in (
        ("result", "raw_result", result if at is None or at > now else None, json_text),
        ("progress", "raw_progress", notes.get("progress"), json_text),
        ("effects", "raw_effects", notes.get("once"), json_text),
        ("usage", "usage", notes.get("usage") if state >= ENDED else None, _usage),
    ):
        try:
            extras[attribute] = None if value is None else read(value)
        except READ_ERRORS as error:
            told.append(unreadable(error, what=f"its {name}", attempt=attempt, at=finished_at or 0.0))
    args = shown_args(Raw(body.encode()), kept.redacted, told, attempt)
    return JobRecord(
        id=id_,
        queue=queue,
        kind=kind,
        state=STATES[state],
        reason=reason,
        args=args,
        priority=PRIORITIES[priority],
        key=key,
        unique=kept.unique.key if kept.unique is not None else None,
        attempt=attempt,
        crashes=crashes,
        begun=has_begun,
        enqueued_at=enqueued_at,
        run_at=run_at,
        expires_at=expires_at,
        finished_at=finished_at,
        holder=holder,
        cancelling=bool(cancelling),
        failures=tuple(told),
        **extras,
    )


def _unreadable(row: Row, error: Exception) -> JobRecord:
    """Return what can be shown of a job that cannot be read: no arguments, since their marks may be unreadable too."""
    values = dict(zip(_FIELDS, row, strict=True))

    def text(name: str) -> str:
        value = values[name]
        return value if isinstance(value, str) else repr(value)[:200]

    def number(name: str) -> float:
        value = values[name]
        return value if isinstance(value, (int, float)) and abs(value) <= LAST_MOMENT else 0.0

    state = STATES.get(values["state"], "dead")
    ended = number("finished_at") or None
    return JobRecord(
        id=text("id"),
        queue=text("queue"),
        kind=text("kind"),
        state=state,
        reason=UNREADABLE,
        args={},
        attempt=int(number("attempt")),
        crashes=int(number("crashes")),
        enqueued_at=number("enqueued_at"),
        run_at=number("run_at"),
        finished_at=ended,
        cancelling=values["cancelling"] == 1,
        failures=(unreadable(error, at=ended or 0.0),),
    )


_FIELDS: Final = (
    "seq", "id", "queue", "kind", "state", "reason", "body", "priority", "key", "attempt", "crashes", "enqueued_at",
    "run_at", "expires_at", "finished_at", "holder", "cancelling", "result", "meta", "failed", "at", "begun",
)  # fmt: skip
