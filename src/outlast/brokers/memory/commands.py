"""Apply commands to the memory store; each returns an answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlast.brokers.memory import moving
from outlast.brokers.memory.records import state_of
from outlast.brokers.memory.rows import JobRow
from outlast.brokers.memory.tables import Tables
from outlast.core.codec import changed_args
from outlast.core.limits import nanos
from outlast.core.message import TERMINAL, rank_of
from outlast.core.moving import Adopt, Hold, Moved, Unhold
from outlast.core.policy import HEAD_START
from outlast.core.store.control import (
    Adjust,
    Answer,
    Cancel,
    Command,
    Edit,
    Pause,
    Prune,
    Purge,
    Redrive,
    RunNow,
    queue_named,
)
from outlast.core.topology import Queue, adjusted
from outlast.core.unreadable import READ_ERRORS

__all__ = ["check", "apply"]


def check(tables: Tables, commands: Sequence[Command]) -> None:
    """Raise ConfigurationError for an invalid limit. Call it before any command of the batch is applied."""
    for command in commands:
        if isinstance(command, Adjust):
            data = tables.queues.get(command.queue)
            adjusted(Queue(name=command.queue) if data is None else data.declared, command.changes)


def apply(tables: Tables, command: Command) -> Answer:
    """Apply one command; a unique key that it frees goes to its successor."""
    answer = _apply(tables, command)
    tables.promote_successors(queue_named(command))
    return answer


def _apply(tables: Tables, command: Command) -> Answer:
    match command:
        case Pause():
            return _pause(tables, command)
        case Adjust():
            return _adjust(tables, command)
        case Prune():
            for data in tables.queues.values():
                data.tidy(nanos(tables.clock.time()))
            return Answer(True, sum(tables.prune(data) for data in list(tables.queues.values())))
        case Purge():
            return _purge(tables, command)
        case Adopt():
            return moving.adopt(tables, command)
    job = tables.jobs.get(command.id)
    if job is None:
        return Answer(False, why="unknown")
    succeeds = job.state == "waiting" and tables.is_successor(job)
    if succeeds and isinstance(command, Hold | Moved | Unhold | RunNow):
        return Answer(False, why="successor")
    match command:
        case Hold():
            return moving.hold(tables, job, command.why)
        case Moved():
            return moving.moved(tables, job)
        case Unhold():
            return moving.unhold(tables, job)
    if job.state == "waiting" and not succeeds:
        return Answer(False, why="held")
    match command:
        case Cancel():
            return _cancel(tables, job)
        case Redrive():
            return _redrive(tables, job)
        case Edit():
            return _edit(tables, job, command)
        case RunNow():
            return _run_now(tables, job)


def _cancel(tables: Tables, job: JobRow) -> Answer:
    if job.state in TERMINAL:
        return Answer(False, why="ended")
    if job.state == "running":
        job.cancelling = True
        return Answer(True, 1)
    tables.detach(job, superseded=True)
    job.settled = 0  # else an earlier settlement would count as a repeat when it is sent again
    tables.end(job, "cancelled", "cancelled")
    tables.prune(tables.queue(job.message.queue))
    return Answer(True, 1)


def _redrive(tables: Tables, job: JobRow) -> Answer:
    now = tables.clock.time()
    state = state_of(job, now)
    if state == "succeeded":
        return Answer(False, why="ended")
    if moving.was_moved(job):
        return Answer(False, why="moved")
    if state not in TERMINAL:
        return Answer(False, why="not-ended")
    unique = job.message.unique
    takes_key = unique is not None and unique.seconds is None
    if takes_key and tables.key_holder(job.message) not in (None, job.message.id):
        return Answer(False, why="conflict")
    if job.state in TERMINAL:
        tables.revive(job)
    else:
        tables.unready(job)
    if takes_key:
        tables.take_key(job)
    job.message = msgspec.structs.replace(job.message, run_at=now, expires_at=None)  # else it would expire at once
    job.attempt, job.crashes, job.ran, job.cancelling, job.settled = 1, 0, False, False, 0
    job.notes.pop("usage", None)
    job.rank = rank_of(now, job.message.priority)
    tables.put(job, now, "scheduled")
    return Answer(True, 1)


def _not_waiting(job: JobRow) -> Answer | None:
    if job.state in TERMINAL:
        return Answer(False, why="ended")
    return Answer(False, why="running") if job.state == "running" else None


def _edit(tables: Tables, job: JobRow, edit: Edit) -> Answer:
    ended = job.state in TERMINAL
    redrivable = job.state != "succeeded" and edit.run_at is None and not moving.was_moved(job)
    if (refusal := _not_waiting(job)) is not None and not (ended and redrivable):
        return refusal
    old, message = job.message, job.message
    if edit.args is not None:
        message = msgspec.structs.replace(message, args=edit.args)
    if edit.change is not None:
        try:
            message = msgspec.structs.replace(message, args=changed_args(message.args, edit.change))
        except READ_ERRORS:
            return Answer(False, why="unreadable")
    if edit.priority is not None:
        message = msgspec.structs.replace(message, priority=edit.priority)
    if ended:
        job.message = message
        return Answer(True, 1)
    tables.unready(job)
    data = tables.queue(message.queue)
    data.count(job, -1)
    if edit.run_at is not None:
        message = msgspec.structs.replace(message, run_at=edit.run_at)
        job.rank = rank_of(edit.run_at, message.priority)
    else:
        job.rank += int((HEAD_START[old.priority] - HEAD_START[message.priority]) * 1000)
    job.message = message
    data.count(job, 1)
    if job.state == "waiting":
        job.at = message.run_at
        return Answer(True, 1)
    state = "scheduled" if edit.run_at is not None else job.state
    tables.put(job, job.at if edit.run_at is None else edit.run_at, state)
    return Answer(True, 1)


def _run_now(tables: Tables, job: JobRow) -> Answer:
    if (refusal := _not_waiting(job)) is not None:
        return refusal
    now = tables.clock.time()
    if job.at <= now:
        return Answer(False, why="not-waiting")
    job.rank = min(job.rank, rank_of(now, job.message.priority))
    tables.put(job, now, "scheduled")
    return Answer(True, 1)


def _pause(tables: Tables, pause: Pause) -> Answer:
    data = tables.queues.get(pause.queue)
    if data is None:
        return Answer(False, why="unknown")
    changed = data.paused != pause.on
    data.paused = pause.on
    return Answer(True, int(changed))


def _adjust(tables: Tables, adjust: Adjust) -> Answer:
    data = tables.queues.get(adjust.queue)
    if data is None:
        return Answer(False, why="unknown")
    changes = {name: value for name, value in data.changes.items() if name not in adjust.reset} | adjust.changes
    changed = adjusted(data.declared, changes)
    answer = Answer(True, int(changed != data.queue))
    data.changes = changes
    data.change(changed)
    return answer


def _purge(tables: Tables, purge: Purge) -> Answer:
    if purge.id is not None:
        job = tables.jobs.get(purge.id)
        if job is None:
            return Answer(False, why="unknown")
        state = state_of(job, tables.clock.time())
        if purge.states and state not in purge.states:
            return Answer(False, why="ended" if state in TERMINAL else "not-ended")
        tables.remove(job, purge=True)
        return Answer(True, 1)
    if purge.queue is None and purge.key is None:
        return Answer(False, why="nothing-named")
    now = tables.clock.time()
    matching = [
        job
        for job in tables.jobs.values()
        if (purge.queue is None or job.message.queue == purge.queue)
        and (purge.key is None or job.message.key == purge.key)
        and (not purge.states or state_of(job, now) in purge.states)
    ]
    for job in matching:
        if job.state == "running" and purge.key is None:
            job.cancelling = True
        else:
            tables.remove(job, purge=True)
    if purge.key is not None:
        for name, data in tables.queues.items():
            if purge.queue in (None, name):
                data.forget(purge.key)
    return Answer(True, len(matching))
