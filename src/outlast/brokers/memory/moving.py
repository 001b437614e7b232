"""Move jobs between the memory store and another one: hold, adopt, moved, unhold."""

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

__all__ = ["adopt", "hold", "moved", "unhold", "was_moved"]

MOVED: Final = "moved"


def was_moved(job: JobRow) -> bool:
    """Tell whether the job was moved to another store."""
    return job.state == "cancelled" and job.reason == MOVED


def hold(tables: Tables, job: JobRow, why: str) -> Answer:
    """Hold the job and answer with its parcel."""
    if job.state in TERMINAL:
        return Answer(False, why="ended")
    if job.state == "running":
        return Answer(False, why="running")
    if job.state == "waiting" and job.reason != why:
        return Answer(False, why="held")
    if job.state != "waiting":
        tables.detach(job, superseded=True)
        job.settled = 0  # else an earlier settlement would count as a repeat when it is sent again
        tables.unready(job)
        job.state, job.reason = "waiting", why
    message = job.message
    if tables.key_holder(message) != message.id:
        message = structs.replace(message, unique=None)
    parcel = Parcel(
        message=message,
        at=job.at,
        rank=job.rank,
        attempt=job.attempt,
        crashes=job.crashes,
        begun=job.begun,
        failures=job.failures,
        effects=job.notes.get("once"),
    )
    return Answer(True, 1, parcel=parcel)


def adopt(tables: Tables, command: Adopt) -> Answer:
    """Keep a held job of another store."""
    parcel, message = command.parcel, command.parcel.message
    known = tables.jobs.get(message.id)
    if known is not None and was_moved(known):
        tables.remove(known)
    tables.forget_moved(message.id)
    # Published as far from due: it must never be ready here.
    (answer,) = tables.publish([structs.replace(message, run_at=LAST_MOMENT)], bounded=False, replacing=False)
    match answer:
        case Exists(by="id", kind=kind) if kind in ("", message.kind):
            return Answer(True)
        case Exists():
            return Answer(False, why="conflict")
        case TooLarge():
            return Answer(False, why="too-large")
    job = tables.jobs[message.id]
    job.message, job.at, job.rank = message, parcel.at, parcel.rank
    job.attempt, job.crashes, job.ran, job.failures = parcel.attempt, parcel.crashes, parcel.begun, parcel.failures
    if parcel.effects is not None:
        job.notes["once"] = parcel.effects
    job.state, job.reason = "waiting", command.why
    return Answer(True, 1)


def moved(tables: Tables, job: JobRow) -> Answer:
    """End the job as moved."""
    if job.state != "waiting":
        return Answer(False, why="ended" if job.state in TERMINAL else "not-waiting")
    job.settled = MOVED_TOKEN
    tables.end(job, "cancelled", MOVED, outcome="moved")
    tables.prune(tables.queue(job.message.queue))
    return Answer(True, 1)


def unhold(tables: Tables, job: JobRow) -> Answer:
    """Return the job to its queue."""
    if job.state != "waiting":
        return Answer(False, why="ended" if job.state in TERMINAL else "not-waiting")
    job.reason = None
    tables.put(job, job.at, "scheduled")
    return Answer(True, 1)
