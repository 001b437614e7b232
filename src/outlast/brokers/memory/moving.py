"""Jobs that come from another store or go to one, in the memory store."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from outlast.brokers.memory.rows import JobRow
from outlast.brokers.memory.tables import MOVED_TOKEN, Tables
from outlast.core.bounds import LAST_MOMENT
from outlast.core.message import TERMINAL
from outlast.core.moving import Adopt, Parcel
from outlast.core.settlement import Exists, TooLarge
from outlast.core.store.control import Answer

__all__ = ["adopt", "hold", "moved", "unhold", "went"]

MOVED: Final = "moved"


def went(job: JobRow) -> bool:
    """Tell whether a job lives in another store now."""
    return job.state == "cancelled" and job.reason == MOVED


def hold(tables: Tables, job: JobRow, why: str) -> Answer:
    """Set the job aside."""
    if job.state in TERMINAL:
        return Answer(False, why="ended")
    if job.state == "running":
        return Answer(False, why="running")
    if job.state == "waiting" and job.reason != why:
        return Answer(False, why="held")
    if job.state != "waiting":
        tables.let_go(job, superseded=True)
        job.settled = 0  # a report from before no longer counts
        tables.lift(job)
        job.state, job.reason = "waiting", why
    message = job.message
    if tables.key_holder(message) != message.id:
        message = structs.replace(message, unique=None)
    parcel = Parcel(
        message=message, at=job.at, rank=job.rank, attempt=job.attempt, crashes=job.crashes, failures=job.failures
    )
    return Answer(True, 1, parcel=parcel)


def adopt(tables: Tables, command: Adopt) -> Answer:
    """Keep a job of another store, set aside."""
    parcel, message = command.parcel, command.parcel.message
    before = tables.jobs.get(message.id)
    if before is not None and went(before):
        tables.remove(before)
    tables.forget_moved(message.id)
    # As one that is far from due: it must not stand in line for a moment.
    (answer,) = tables.publish([structs.replace(message, run_at=LAST_MOMENT)], bounded=False, replacing=False)
    match answer:
        case Exists(by="id"):
            return Answer(True)
        case Exists():
            return Answer(False, why="conflict")
        case TooLarge():
            return Answer(False, why="too-large")
    job = tables.jobs[message.id]
    job.message, job.at, job.rank = message, parcel.at, parcel.rank
    job.attempt, job.crashes, job.failures = parcel.attempt, parcel.crashes, parcel.failures
    job.state, job.reason = "waiting", command.why
    return Answer(True, 1)


def moved(tables: Tables, job: JobRow) -> Answer:
    """End the job here."""
    if job.state != "waiting":
        return Answer(False, why="ended" if job.state in TERMINAL else "not-waiting")
    job.settled = MOVED_TOKEN
    tables.end(job, "cancelled", MOVED)
    tables.prune(tables.line(job.message.queue))
    return Answer(True, 1)


def unhold(tables: Tables, job: JobRow) -> Answer:
    """Let the job stand in line again."""
    if job.state != "waiting":
        return Answer(False, why="ended" if job.state in TERMINAL else "not-waiting")
    job.reason = None
    tables.put(job, job.at, "scheduled")
    return Answer(True, 1)
