"""Looking at jobs, on a connection that never writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec
from msgspec import Raw

from outlast.brokers.sqlite.publish import Meta
from outlast.brokers.sqlite.statements import state_at, statements
from outlast.brokers.sqlite.transaction import (
    ENDED,
    EXPIRED,
    PARKED,
    PRIORITIES,
    READY,
    RUNNING,
    SCHEDULED,
    STATE_NUMBER,
    STATES,
)
from outlast.core.codec import redact_args
from outlast.core.message import Failure, State
from outlast.core.protocols import JobRecord, Page, Query

__all__ = ["count", "find", "get"]

_COLUMNS: Final = (
    "job.seq, job.id, queue.name, job.kind, job.state, job.reason, job.body, job.priority, job.key, job.uniq, "
    "job.attempt, job.crashes, job.enqueued_at, coalesce(case when job.state < 10 then job.at end, job.run_at), "
    "job.expires_at, job.finished_at, case when job.state = 1 then holder.id end, job.cancelling, job.result, "
    "job.meta, job.failed, job.at"
)
_FROM: Final = " from job {index} join queue using (queue) left join holder using (holder) where job.body is not null"
_meta: Final = msgspec.json.Decoder(Meta).decode
_failure: Final = msgspec.json.Decoder(Failure).decode


def get(db: apsw.Connection, ids: Sequence[str], now: float) -> list[JobRecord | None]:
    """Return the records of `ids`, None for each that is not known."""
    sql = statements()["record"].replace("@columns", _COLUMNS)
    found: list[JobRecord | None] = []
    for id_ in ids:
        rows = db.execute(sql, (id_,)).fetchall()
        found.append(_record(db, rows[0], now) if rows else None)
    return found


def find(db: apsw.Connection, query: Query, now: float) -> Page:
    """Return one page, newest acceptance first."""
    rows: list[tuple[Any, ...]] = []
    below = int(query.cursor) if query.cursor is not None else None
    limit = max(1, min(query.limit, 1000))
    for index, condition, values in _searches(query, now):
        sql = f"select {_COLUMNS}{_FROM.format(index=index)}{condition}"
        if below is not None:
            sql += " and job.seq < ?"
            values = [*values, below]
        rows += db.execute(f"{sql} order by job.seq desc limit ?", [*values, limit + 1]).fetchall()
    rows.sort(key=lambda row: -row[0])
    more = len(rows) > limit
    rows = rows[:limit]
    return Page([_record(db, row, now) for row in rows], str(rows[-1][0]) if more else None)


def count(db: apsw.Connection, query: Query, now: float) -> dict[State, int]:
    """Return how many records match, by state; a state without any is left out."""
    total: dict[State, int] = {}
    for index, condition, values in _searches(query, now):
        state = state_at(now)
        sql = f"select {state}, count(*){_FROM.format(index=index)}{condition} group by 1"
        for code, number in db.execute(sql, values):
            total[STATES[code]] = total.get(STATES[code], 0) + number
    return total


_INDEX: Final = {"running": "indexed by job_held", "dead": "indexed by job_dead"}
"""States with few rows among many: read from their own index, not by a walk over all jobs."""


def _searches(query: Query, now: float) -> list[tuple[str, str, list[Any]]]:
    """Return (index, condition, values) of one search for each state that has an index of its own, and the rest."""
    common = ""
    values: list[Any] = []
    for column, value in (("queue.name", query.queue), ("job.kind", query.kind), ("job.key", query.key)):
        if value is not None:
            common += f" and {column} = ?"
            values.append(value)
    if not query.states:
        return [("", common, values)]
    searches = [
        (_INDEX[state], f" and job.state = {STATE_NUMBER[state]}{common}", values)
        for state in dict.fromkeys(query.states)
        if state in _INDEX
    ]
    rest = ", ".join(str(STATE_NUMBER[state]) for state in dict.fromkeys(query.states) if state not in _INDEX)
    if rest:
        searches.append(("", f" and {state_at(now)} in ({rest}){common}", values))
    return searches


def _record(db: apsw.Connection, row: tuple[Any, ...], now: float) -> JobRecord:
    (
        seq, id_, queue, kind, state, reason, body, priority, key, _, attempt, crashes, enqueued_at, run_at,
        expires_at, finished_at, holder, cancelling, result, meta, failed, at,
    ) = row  # fmt: skip
    kept = _meta(meta) if meta is not None else Meta()
    failures: tuple[Failure, ...] = ()
    progress = None
    if failed:
        sql = statements()
        failures = tuple(_failure(text) for (text,) in db.execute(sql["failures"], (seq,)))
        noted: list[Any] = db.execute(sql["progress"], (seq,)).fetchall()
        progress = Raw(noted[0][0].encode()) if noted else None
    if (
        state < ENDED
        and state != RUNNING
        and expires_at is not None
        and expires_at <= now
        and attempt == 1
        and crashes == 0
    ):
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
    )
