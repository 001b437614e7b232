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
from outlast.core.codec import redact_args
from outlast.core.message import Failure, Usage
from outlast.core.store.records import JobRecord

__all__ = ["COLUMNS", "FROM", "Row", "get", "record"]

Row = tuple[Any, ...]

COLUMNS: Final = (
    "job.seq, job.id, queue.name, job.kind, job.state, job.reason, job.body, job.priority, lane.key, job.uniq, "
    "job.attempt, job.crashes, job.enqueued_at, coalesce(case when job.state < 10 then job.at end, job.run_at), "
    "job.expires_at, job.finished_at, case when job.state = 1 then holder.id end, job.cancelling, job.result, "
    "job.meta, job.failed, job.at"
)
FROM: Final = (
    " from job {index} join queue using (queue) left join holder using (holder) "
    "left join lane on lane.lane = job.lane where job.body is not null"
)
_failure: Final = msgspec.json.Decoder(Failure).decode
_usage: Final = msgspec.json.Decoder(Usage).decode


def get(db: apsw.Connection, ids: Sequence[str], now: float) -> list[JobRecord | None]:
    """Return the records of `ids`, None for each unknown id."""
    sql = statements()["record"].replace("@columns", COLUMNS)
    found: list[JobRecord | None] = []
    for id_ in ids:
        rows = db.execute(sql, (id_,)).fetchall()
        if not rows and (link := db.execute(statements()["linked"], (id_,)).fetchone()) is not None:
            rows = db.execute(sql, link).fetchall()
        found.append(record(db, rows[0], now) if rows else None)
    return found


def record(db: apsw.Connection, row: Row, now: float) -> JobRecord:
    """Return the record of a row of COLUMNS as of `now`, without redacted arguments."""
    (
        seq, id_, queue, kind, state, reason, body, priority, key, _, attempt, crashes, enqueued_at, run_at,
        expires_at, finished_at, holder, cancelling, result, meta, failed, at,
    ) = row  # fmt: skip
    kept = meta_of(meta)
    failures: tuple[Failure, ...] = ()
    progress = usage = None
    if failed:
        sql = statements()
        failures = tuple(_failure(text) for (text,) in db.execute(sql["failures"], (seq,)))
        notes: dict[Any, Any] = {name: value for name, value in db.execute(sql["notes"], (seq,))}  # noqa: C416
        progress = Raw(notes["progress"].encode()) if "progress" in notes else None
        usage = _usage(notes["usage"]) if "usage" in notes and state >= ENDED else None
    late = expires_at is not None and expires_at <= now and attempt == 1 and crashes == 0
    if late and state in {READY, SCHEDULED, PARKED}:
        state, reason, finished_at = EXPIRED, "expired", expires_at
    elif state in {SCHEDULED, PARKED} and run_at <= now:
        state = READY
    return JobRecord(
        id=id_,
        queue=queue,
        kind=kind,
        state=STATES[state],
        reason=reason,
        args=redact_args(Raw(body.encode()), kept.redacted),
        priority=PRIORITIES[priority],
        key=key,
        unique=kept.unique.key if kept.unique is not None else None,
        attempt=attempt,
        crashes=crashes,
        enqueued_at=enqueued_at,
        run_at=run_at,
        expires_at=expires_at,
        finished_at=finished_at,
        holder=holder,
        cancelling=bool(cancelling),
        result=Raw(result.encode()) if result is not None and at > now else None,
        progress=progress,
        failures=failures,
        usage=usage,
    )
