"""Records and counts of the memory store: reads only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from outlast.brokers.memory.loads import backlog_of, offers_for
from outlast.brokers.memory.rows import JobRow, QueueData
from outlast.brokers.memory.tables import Tables
from outlast.core.codec import redact_args
from outlast.core.forecast import forecast_of, permits_in
from outlast.core.kinds import name_of
from outlast.core.limits import nanos
from outlast.core.matching import ArgIs, holds
from outlast.core.message import TERMINAL, Message, State, Usage
from outlast.core.store.broker import QueueStats
from outlast.core.store.records import JobRecord, Page, Query, Without
from outlast.core.store.totals import Outcome
from outlast.core.topology import limits_of
from outlast.core.unreadable import READ_ERRORS, shown_args

__all__ = ["count", "find", "record", "state_of", "stats", "totals"]


def state_of(job: JobRow, now: float) -> State:
    """Return the state at `now`: a due job is ready, and a job past its `expires` time has expired."""
    if job.state not in ("ready", "scheduled", "parked"):
        return job.state
    if job.late(now):
        return "expired"
    return "ready" if job.at <= now else job.state


def record(job: JobRow, now: float) -> JobRecord:
    """Return the record of the job at `now`, with redacted arguments."""
    message, state = job.message, state_of(job, now)
    expired = state == "expired" and job.state != "expired"
    told = list(job.failures)
    args = shown_args(message.args, message.redacted, told, job.attempt)
    return JobRecord(
        id=message.id,
        queue=message.queue,
        kind=message.kind,
        state=state,
        reason="expired" if expired else job.reason,
        args=args,
        priority=message.priority,
        key=message.key,
        unique=None if message.unique is None else message.unique.key,
        attempt=job.attempt,
        crashes=job.crashes,
        begun=job.begun,
        enqueued_at=message.enqueued_at,
        run_at=message.run_at if job.state in TERMINAL else job.at,
        expires_at=message.expires_at,
        finished_at=message.expires_at if expired else job.finished_at,
        holder=job.holder.id if job.holder is not None and job.state == "running" else None,
        cancelling=job.cancelling,
        raw_result=job.result if job.result_until > now else None,
        raw_progress=job.notes.get("progress"),
        raw_effects=job.notes.get("once"),
        usage=_usage(job),
        failures=tuple(told),
    )


def _usage(job: JobRow) -> Usage | None:
    noted = job.notes.get("usage") if job.state in TERMINAL else None
    return None if noted is None else msgspec.json.decode(noted, type=Usage)


def find(tables: Tables, query: Query) -> Page:
    """Return one page, newest acceptance first; the cursor is the order of the page's last record."""
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
    """Count matching jobs by state."""
    now, counts = tables.clock.time(), dict[State, int]()
    for job in _matching(tables, query, now):
        state = state_of(job, now)
        counts[state] = counts.get(state, 0) + 1
    return counts


def _matching(tables: Tables, query: Query, now: float) -> Iterator[JobRow]:
    for job in reversed(tables.jobs.values()):
        if (
            (query.queue is None or job.message.queue == query.queue)
            and (query.kind is None or query.kind in (job.message.kind, name_of(job.message.kind)))
            and (query.key is None or job.message.key == query.key)
            and (not query.states or state_of(job, now) in query.states)
            and (query.reason is None or _reason(job, now) == query.reason)
            and (query.accepted_before is None or job.message.enqueued_at < query.accepted_before)
            and (query.accepted_after is None or job.message.enqueued_at >= query.accepted_after)
            and (not query.args or _args_fit(job.message, query.args))
            and not any(_meets(job, each, now) for each in query.without)
        ):
            yield job


def _meets(job: JobRow, each: Without, now: float) -> bool:
    message = job.message
    if isinstance(each.value, ArgIs):
        return _args_fit(message, (each.value,))
    return each.meets(queue=message.queue, kind=message.kind, key=message.key, reason=_reason(job, now))


def _reason(job: JobRow, now: float) -> str | None:
    return "expired" if job.state not in TERMINAL and state_of(job, now) == "expired" else job.reason


def _args_fit(message: Message, wanted: Sequence[ArgIs]) -> bool:
    try:
        args = redact_args(message.args, ())
    except READ_ERRORS:
        return False
    return all(holds(args, message.redacted, each) for each in wanted)


def stats(tables: Tables, names: Sequence[str]) -> dict[str, QueueStats]:
    """Count the jobs of the queues; a due job counts as ready even if no claim has promoted it yet."""
    now = tables.clock.time()
    queues = {name: tables.queues[name] for name in names or tables.queues if name in tables.queues}
    by_state = {name: {"ready": 0, "running": 0, "scheduled": 0, "parked": 0} for name in queues}
    due: dict[str, float] = {}
    successors = Counter(queue for queue, _ in tables.successors)
    for job in tables.jobs.values():
        counts = by_state.get(job.message.queue)
        if counts is not None and job.state in counts:
            late = job.state in ("scheduled", "parked") and job.at <= now
            counts["ready" if late else job.state] += 1
            if late:
                due[job.message.queue] = min(job.at, due.get(job.message.queue, job.at))
    return {
        name: _stats_of(tables, name, data, {**by_state[name], "successors": successors[name]}, due.get(name, math.inf))
        for name, data in queues.items()
    }


def totals(tables: Tables, names: Sequence[str]) -> dict[tuple[str, str, Outcome], int]:
    """Return the number of ended jobs by queue, kind and outcome."""
    return {
        (name, kind, outcome): count
        for name in names or tables.queues
        if name in tables.queues
        for kind, counts in tables.queues[name].totals.items()
        for outcome, count in counts.items()
    }


def _stats_of(tables: Tables, name: str, data: QueueData, counts: dict[str, int], due: float) -> QueueStats:
    now = tables.clock.monotonic()
    first = min(data.heads(), default=None)
    consumers = sum(name in each.queues and each.until > now for each in tables.holders.values())
    since = due if first is None else min(due, tables.jobs[first.id].at)
    return QueueStats(
        depth=data.depth,
        ready=counts["ready"],
        scheduled=counts["scheduled"],
        running=counts["running"],
        parked=counts["parked"],
        successors=counts["successors"],
        dead=len(data.dead),
        oldest=0.0 if since == math.inf else max(0.0, tables.clock.time() - since),
        drain_rate=data.rate.per_second(now),
        paused=data.paused,
        consumers=consumers,
        max_depth=data.queue.max_depth,
        bytes=data.bytes if data.queue.max_bytes is not None else None,
        max_bytes=data.queue.max_bytes,
        shed=data.shed,
        keys=sum(key.where == "ring" for key in data.keys.values()),
        keys_held=sum(key.parked for key in data.keys.values()),
        held=data.held(nanos(tables.clock.time())),
        limits=limits_of(data.queue),
        changed=tuple(sorted(data.changes)),
        needs=data.queue.needs,
        forecast=forecast_of(
            offers_for(tables, name),
            data.samples,
            backlog_of(tables, data, counts["ready"], counts["running"]),
            paused=data.paused,
            consumers=consumers,
        ),
        permits=permits_in(offers_for(tables, name)),
    )
