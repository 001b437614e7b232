"""Applies commands of operators and tools: cancel, redrive, edit, run now, pause, purge, prune and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw

from outlast.brokers.sqlite import key_states, moving
from outlast.brokers.sqlite.bounds import cancel_job, weigh_job
from outlast.brokers.sqlite.declare import adjust, check
from outlast.brokers.sqlite.job_rows import RefusedCommand, find_job, is_successor, meta_of
from outlast.brokers.sqlite.purge import purge
from outlast.brokers.sqlite.retention import prune
from outlast.brokers.sqlite.statements import NOT_BEGUN
from outlast.brokers.sqlite.succession import promote_named
from outlast.brokers.sqlite.transaction import (
    DEAD,
    ENDED,
    PARKED,
    PRIORITIES,
    PRIORITY_NUMBER,
    READY,
    RUNNING,
    SCHEDULED,
    SUCCEEDED,
    WAITING,
    QueueRow,
    Transaction,
)
from outlast.brokers.sqlite.unreadable import fetch
from outlast.core.codec import changed_args
from outlast.core.message import rank_of
from outlast.core.moving import Adopt, Hold, Moved, Unhold
from outlast.core.policy import HEAD_START, Priority
from outlast.core.store.control import Adjust, Answer, Cancel, Command, Edit, Pause, Prune, Purge, Redrive, RunNow
from outlast.core.unreadable import READ_ERRORS

__all__ = ["apply"]

_EDITED: Final = (
    "state", "at", "run_at", "rank", "priority", "body", "meta", "expires_at", NOT_BEGUN, "token",
)  # fmt: skip


def apply(tx: Transaction, commands: Sequence[Command]) -> list[Answer]:
    """Apply the commands in order; return an answer for each."""
    tx.changes.update(("work", "ended"))
    check(tx, [command for command in commands if isinstance(command, Adjust)])
    answers = []
    for command in commands:
        answers.append(_apply(tx, command))
        promote_named(tx, command)
    return answers


def _apply(tx: Transaction, command: Command) -> Answer:
    changed = 1
    try:
        match command:
            case Cancel(id_):
                _cancel(tx, id_)
            case Redrive(id_):
                _redrive(tx, id_)
            case Edit():
                _edit(tx, command)
            case RunNow(id_):
                _run_now(tx, id_)
            case Pause():
                changed = _pause(tx, command)
            case Adjust():
                changed = adjust(tx, command)
            case Purge():
                changed = purge(tx, command)
            case Hold(id_, why):
                return moving.hold(tx, id_, why)
            case Adopt():
                changed = moving.adopt(tx, command)
            case Moved(id_):
                _moved(tx, id_)
            case Unhold(id_):
                _unhold(tx, id_)
            case Prune():
                changed, more = prune(tx)
                while more:
                    done, more = prune(tx)
                    changed += done
    except RefusedCommand as refused:
        return Answer(ok=False, why=refused.why)
    return Answer(ok=True, changed=changed)


def _cancel(tx: Transaction, id_: str) -> None:
    seq, state, _, queue = find_job(tx, id_)
    if state >= ENDED:
        raise RefusedCommand("ended")
    if state == WAITING and not is_successor(tx, seq):
        raise RefusedCommand("held")
    if state == RUNNING:
        tx.run("cancel_running", (seq,))
    else:
        cancel_job(tx, queue, seq)


def _row(tx: Transaction, seq: int) -> tuple[Any, ...]:
    """Return state, at, run_at, rank, priority, body, meta, expires_at, if it has not begun, token of a job."""
    (row,) = fetch(tx.db, _EDITED, "from job where seq = ?", (seq,))
    return row


def _held(tx: Transaction, id_: str) -> tuple[int, QueueRow]:
    """Return seq and queue of a held job; raise RefusedCommand for another one."""
    seq, state, _, queue = find_job(tx, id_)
    if state != WAITING:
        raise RefusedCommand("ended" if state >= ENDED else "not-waiting")
    if is_successor(tx, seq):
        raise RefusedCommand("successor")
    return seq, queue


def _unhold(tx: Transaction, id_: str) -> None:
    seq, queue = _held(tx, id_)
    tx.run("unhold", (seq, tx.now))
    row = tx.row("fence_row", (seq,))
    if row is not None and row[3] == READY:
        _join(tx, queue, seq)


def _moved(tx: Transaction, id_: str) -> None:
    seq, queue = _held(tx, id_)
    cancel_job(tx, queue, seq, moved=True)
    tx.run("moved", (moving.MOVED_TOKEN, seq))


def _redrive(tx: Transaction, id_: str) -> None:
    seq, state, priority, queue = find_job(tx, id_)
    if state == WAITING and not is_successor(tx, seq):
        raise RefusedCommand("held")
    row = _row(tx, seq)
    *_, meta, expires_at, not_begun, token = row
    waits = state < ENDED and state != RUNNING
    expired = waits and not_begun and expires_at is not None and expires_at <= tx.now
    if state <= SUCCEEDED and not expired:
        raise RefusedCommand("not-ended" if state < ENDED else "ended")
    if token == moving.MOVED_TOKEN:
        raise RefusedCommand("moved")
    try:
        unique = meta_of(meta).unique
    except READ_ERRORS:
        raise RefusedCommand("unreadable") from None
    # A job holds its unique key until it starts or ends; a timed key expires without it.
    key = unique.key if unique is not None and unique.seconds is None else None
    if key is not None:
        holder = tx.row("uniq_holder", (queue.number, key))
        if holder is not None and holder[1] != seq:
            if holder[2] is None or holder[2] > tx.now:
                raise RefusedCommand("conflict")
            tx.run("uniq_free", (holder[1],))
    tx.run("usage_drop", (seq,))
    tx.run("redrive", (rank_of(tx.now, PRIORITIES[priority]), tx.now, key, seq))
    _join(tx, queue, seq)
    counts = tx.count(queue.number)
    if state >= ENDED:
        weigh_job(tx, queue, seq, 1)
        counts.depth += 1
        if state == DEAD:
            counts.dead -= 1
        else:
            counts.records -= 1


def _join(tx: Transaction, queue: QueueRow, seq: int) -> None:
    """Add the key of a job that became ready to the ring."""
    if tx.ring(queue).back:
        key_states.put(tx, queue, tx.one("lane_of", (seq,)))


def _check_waiting(state: int) -> None:
    """Raise RefusedCommand for the state of a job that does not wait."""
    if state in {RUNNING, WAITING}:
        raise RefusedCommand("running" if state == RUNNING else "held")
    if state >= ENDED:
        raise RefusedCommand("ended")


def _edit(tx: Transaction, edit: Edit) -> None:
    seq, state, _, queue = find_job(tx, edit.id)
    succeeds = state == WAITING and is_successor(tx, seq)
    if not succeeds and (state <= SUCCEEDED or edit.run_at is not None):
        _check_waiting(state)
    row = _row(tx, seq)
    state, at, run_at, rank, number, body, *_, token = row
    if token == moving.MOVED_TOKEN:
        raise RefusedCommand("ended")
    old: Priority = PRIORITIES[number]
    priority = edit.priority or old
    if edit.args is not None:
        body = bytes(edit.args).decode()
    if edit.change is not None:
        try:
            body = bytes(changed_args(Raw(body.encode()), edit.change)).decode()
        except READ_ERRORS:
            raise RefusedCommand("unreadable") from None
    if edit.run_at is not None:
        run_at = at = edit.run_at
        state = WAITING if succeeds else READY if run_at <= tx.now else SCHEDULED
        rank = rank_of(run_at, priority)
    elif state < ENDED:
        rank += int((HEAD_START[old] - HEAD_START[priority]) * 1000)
        if state in {SCHEDULED, PARKED} and at <= tx.now:
            state = READY  # it is due, though no claim has made it ready yet
    if state < ENDED:
        weigh_job(tx, queue, seq, -1)
    tx.run("edit", (state, at, run_at, rank, PRIORITY_NUMBER[priority], body, seq))
    if state < ENDED:
        weigh_job(tx, queue, seq, 1)
    if state == READY:
        _join(tx, queue, seq)


def _run_now(tx: Transaction, id_: str) -> None:
    seq, state, priority, queue = find_job(tx, id_)
    if state == WAITING and is_successor(tx, seq):
        raise RefusedCommand("successor")
    _check_waiting(state)
    row = _row(tx, seq)
    if state not in {SCHEDULED, PARKED} or row[1] <= tx.now:
        raise RefusedCommand("not-waiting")
    tx.run("run_now", (tx.now, rank_of(tx.now, PRIORITIES[priority]), seq))
    _join(tx, queue, seq)


def _pause(tx: Transaction, pause: Pause) -> int:
    if tx.find_queue(pause.queue) is None:
        raise RefusedCommand("unknown")
    changed = tx.run("queue_pause", (int(pause.on), pause.queue))
    tx.refresh(pause.queue)
    return changed
