"""Records and counts of the memory store: reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlast.brokers.memory.tables import Job, Line, Tables
from outlast.core.codec import redact_args
from outlast.core.message import TERMINAL, State
from outlast.core.protocols import JobRecord, Page, Query, QueueStats

__all__ = ["count", "find", "record", "state_of", "stats"]


def state_of(job: Job, now: float) -> State:
    """Return the state that holds at `now`: what is due is ready, what is past its time to start has expired."""
    if job.state not in ("ready", "scheduled", "parked"):
        return job.state
    expires_at = job.message.expires_at
    if expires_at is not None and now >= expires_at and job.attempt == 1 and job.crashes == 0:
        return "expired"
    return "ready" if job.at <= now else job.state


def record(job: Job, now: float) -> JobRecord:
    """Return what may be shown of the job at `now`."""
    message, state = job.message, state_of(job, now)
    expired = state == "expired" and job.state != "expired"
    return JobRecord(
        id=message.id,
        queue=message.queue,
        kind=message.kind,
        state=state,
        reason="expired" if expired else job.reason,
        args=redact_args(message.args, message.redacted),
        priority=message.priority,
        key=message.key,
        unique=None if message.unique is None else message.unique.key,
        attempt=job.attempt,
        crashes=job.crashes,
        enqueued_at=message.enqueued_at,
        run_at=message.run_at if job.state in TERMINAL else job.at,
        expires_at=message.expires_at,
        finished_at=message.expires_at if expired else job.finished_at,
        holder=job.holder.id if job.holder is not None and job.state == "running" else None,
        cancelling=job.cancelling,
        result=job.result if job.result_until > now else None,
        progress=job.notes.get("progress"),
        failures=job.failures,
    )


def find(tables: Tables, query: Query) -> Page:
    """Return one page, newest acceptance first; the cursor is the order of the last record given."""
    now, jobs = tables.clock.time(), []
    for job in _matching(tables, query, now):
        if query.cursor is None or job.order < int(query.cursor):
            jobs.append(job)
            if len(jobs) > query.limit:
                break
    more = len(jobs) > query.limit
    page = jobs[: query.limit]
    return Page([record(job, now) for job in page], str(page[-1].order) if more and page else None)


def count(tables: Tables, query: Query) -> dict[State, int]:
    """Count what matches, by state."""
    now, counts = tables.clock.time(), dict[State, int]()
    for job in _matching(tables, query, now):
        state = state_of(job, now)
        counts[state] = counts.get(state, 0) + 1
    return counts


def _matching(tables: Tables, query: Query, now: float) -> Iterator[Job]:
    for job in reversed(tables.jobs.values()):
        if (
            (query.queue is None or job.message.queue == query.queue)
            and (query.kind is None or job.message.kind == query.kind)
            and (query.key is None or job.message.key == query.key)
            and (not query.states or state_of(job, now) in query.states)
        ):
            yield job


def stats(tables: Tables, names: Sequence[str]) -> dict[str, QueueStats]:
    """Count the queues; what is due counts as ready, whether or not a claim has seen it."""
    tables.promote()
    lines = {name: tables.lines[name] for name in names or tables.lines if name in tables.lines}
    waiting = {name: {"running": 0, "scheduled": 0, "parked": 0} for name in lines}
    for job in tables.jobs.values():
        counts = waiting.get(job.message.queue)
        if counts is not None and job.state in counts:
            counts[job.state] += 1
    return {name: _counted(tables, name, line, waiting[name]) for name, line in lines.items()}


def _counted(tables: Tables, name: str, line: Line, waiting: dict[str, int]) -> QueueStats:
    now = tables.clock.monotonic()
    first = tables.jobs[line.ready[0].id] if line.ready else None
    return QueueStats(
        depth=line.depth,
        ready=len(line.ready),
        scheduled=waiting["scheduled"],
        running=waiting["running"],
        parked=waiting["parked"],
        dead=len(line.dead),
        oldest=0.0 if first is None else max(0.0, tables.clock.time() - first.at),
        drain_rate=line.rate.per_second(now),
        paused=line.paused,
        consumers=sum(name in each.asked and each.until > now for each in tables.holders.values()),
        max_depth=line.queue.max_depth,
    )
