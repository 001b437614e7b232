"""Commands of people and tools: cancel, redrive, edit, run now, pause, purge, prune."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from outlast.brokers.sqlite import key_states, moving
from outlast.brokers.sqlite.bounds import cancel_job, weigh_job
from outlast.brokers.sqlite.declare import adjust, check
from outlast.brokers.sqlite.job_rows import Meta
from outlast.brokers.sqlite.purge import purge
from outlast.brokers.sqlite.retention import prune
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
from outlast.core.codec import changed_args
from outlast.core.ids import queue_of
from outlast.core.message import rank_of
from outlast.core.moving import Adopt, Hold, Moved, Unhold
from outlast.core.policy import HEAD_START, Priority
from outlast.core.store.control import Adjust, Answer, Cancel, Command, Edit, Pause, Prune, Purge, Redrive, RunNow

__all__ = ["apply"]


def apply(tx: Transaction, commands: Sequence[Command]) -> list[Answer]:
    """Apply the commands in order; return an answer for each."""
    tx.work = tx.ended = True
    check(tx, [command for command in commands if isinstance(command, Adjust)])
    return [_apply(tx, command) for command in commands]


def _apply(tx: Transaction, command: Command) -> Answer:
    match command:
        case Cancel(id_):
            return _cancel(tx, id_)
        case Redrive(id_):
            return _redrive(tx, id_)
        case Edit():
            return _edit(tx, command)
        case RunNow(id_):
            return _run_now(tx, id_)
        case Pause():
            return _pause(tx, command)
        case Adjust():
            return adjust(tx, command)
        case Purge():
            return purge(tx, command)
        case Hold(id_, why):
            return moving.hold(tx, id_, why)
        case Adopt():
            return moving.adopt(tx, command)
        case Moved(id_):
            return _moved(tx, id_)
        case Unhold(id_):
            seq = _held(tx, id_)
            return seq if isinstance(seq, Answer) else _unhold(tx, id_, seq)
        case Prune():
            total, more = 0, True
            while more:
                done, more = prune(tx)
                total += done
            return Answer(ok=True, changed=total)


def _find(tx: Transaction, id_: str) -> tuple[int, int, int, QueueRow, bool] | None:
    """Return seq, state, priority, queue and whether there is a result, unless only the id is remembered."""
    row = tx.row("by_id", (id_,))
    if row is None or row[6]:
        return None
    return row[0], row[2], row[5], tx.queue(queue_of(id_)), not row[8]


def _cancel(tx: Transaction, id_: str) -> Answer:
    found = _find(tx, id_)
    if found is None:
        return Answer(ok=False, why="unknown")
    seq, state, _, queue, _ = found
    if state >= ENDED:
        return Answer(ok=False, why="ended")
    if state == RUNNING:
        tx.run("cancel_running", (seq,))
        return Answer(ok=True, changed=1)
    if state == WAITING:
        return Answer(ok=False, why="held")
    cancel_job(tx, queue, seq)
    return Answer(ok=True, changed=1)


def _held(tx: Transaction, id_: str) -> int | Answer:
    """Return the seq of a job that was set aside, or why there is none."""
    found = _find(tx, id_)
    if found is None:
        return Answer(ok=False, why="unknown")
    if found[1] != WAITING:
        return Answer(ok=False, why="ended" if found[1] >= ENDED else "not-waiting")
    return found[0]


def _unhold(tx: Transaction, id_: str, seq: int) -> Answer:
    answer = moving.unhold(tx, seq)
    row = tx.row("fence_row", (seq,))
    if row is not None and row[3] == READY:
        _join(tx, tx.queue(queue_of(id_)), seq)
    return answer


def _moved(tx: Transaction, id_: str) -> Answer:
    seq = _held(tx, id_)
    if isinstance(seq, Answer):
        return seq
    cancel_job(tx, tx.queue(queue_of(id_)), seq)
    moving.moved(tx, seq)
    return Answer(ok=True, changed=1)


def _redrive(tx: Transaction, id_: str) -> Answer:
    found = _find(tx, id_)
    if found is None:
        return Answer(ok=False, why="unknown")
    seq, state, priority, queue, _ = found
    if state == WAITING:
        return Answer(ok=False, why="held")
    row = tx.row("edit_row", (seq,))
    assert row is not None
    *_, meta, expires_at, attempt, crashes, token = row
    waits = state < ENDED and state != RUNNING
    too_late = waits and attempt == 1 and not crashes and expires_at is not None and expires_at <= tx.now
    if state <= SUCCEEDED and not too_late:
        return Answer(ok=False, why="not-ended" if state < ENDED else "ended")
    if token == moving.MOVED_TOKEN:
        return Answer(ok=False, why="moved")
    key = _key_to_retake(meta)
    if key is not None:
        holder = tx.row("uniq_holder", (queue.number, key))
        if holder is not None and holder[1] != seq:
            if holder[2] is None or holder[2] > tx.now:
                return Answer(ok=False, why="conflict")
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
    return Answer(ok=True, changed=1)


def _join(tx: Transaction, queue: QueueRow, seq: int) -> None:
    """Let the key of a job that is ready now join the ring."""
    if tx.ring(queue).back:
        key_states.put(tx, queue, tx.one("lane_of", (seq,)))


def _key_to_retake(meta: str | None) -> str | None:
    """Return the unique key that a job holds until it starts or ends; a timed one lapses by itself."""
    unique = msgspec.json.decode(meta, type=Meta).unique if meta is not None else None
    return unique.key if unique is not None and unique.seconds is None else None


def _waiting(tx: Transaction, id_: str) -> int | Answer:
    """Return the seq of a job that waits, or why it can't be changed."""
    found = _find(tx, id_)
    if found is None:
        return Answer(ok=False, why="unknown")
    seq, state, *_ = found
    if state in {RUNNING, WAITING}:
        return Answer(ok=False, why="running" if state == RUNNING else "held")
    return Answer(ok=False, why="ended") if state >= ENDED else seq


def _edit(tx: Transaction, edit: Edit) -> Answer:
    found = _find(tx, edit.id)
    seq = _waiting(tx, edit.id) if found is None or found[1] <= SUCCEEDED or edit.run_at is not None else found[0]
    if isinstance(seq, Answer):
        return seq
    row = tx.row("edit_row", (seq,))
    assert row is not None
    state, at, run_at, rank, number, body, *_, token = row
    if token == moving.MOVED_TOKEN:
        return Answer(ok=False, why="ended")
    old: Priority = PRIORITIES[number]
    priority = edit.priority or old
    if edit.args is not None:
        body = bytes(edit.args).decode()
    if edit.change is not None:
        body = bytes(changed_args(Raw(body.encode()), edit.change)).decode()
    if edit.run_at is not None:
        run_at = at = edit.run_at
        state = READY if run_at <= tx.now else SCHEDULED
        rank = rank_of(run_at, priority)
    elif state < ENDED:
        rank += int((HEAD_START[old] - HEAD_START[priority]) * 1000)
        if state in {SCHEDULED, PARKED} and at <= tx.now:
            state = READY  # it is due, though no claim has seen it yet
    queue = tx.queue(queue_of(edit.id))
    if state < ENDED:
        weigh_job(tx, queue, seq, -1)
    tx.run("edit", (state, at, run_at, rank, PRIORITY_NUMBER[priority], body, seq))
    if state < ENDED:
        weigh_job(tx, queue, seq, 1)
    if state == READY:
        _join(tx, tx.queue(queue_of(edit.id)), seq)
    return Answer(ok=True, changed=1)


def _run_now(tx: Transaction, id_: str) -> Answer:
    seq = _waiting(tx, id_)
    if isinstance(seq, Answer):
        return seq
    row = tx.row("edit_row", (seq,))
    assert row is not None
    state, at, *_ = row
    if state not in {SCHEDULED, PARKED} or at <= tx.now:
        return Answer(ok=False, why="not-waiting")
    tx.run("run_now", (tx.now, rank_of(tx.now, PRIORITIES[row[4]]), seq))
    _join(tx, tx.queue(queue_of(id_)), seq)
    return Answer(ok=True, changed=1)


def _pause(tx: Transaction, pause: Pause) -> Answer:
    if tx.find_queue(pause.queue) is None:
        return Answer(ok=False, why="unknown")
    changed = tx.run("queue_pause", (int(pause.on), pause.queue))
    tx.refresh(pause.queue)
    return Answer(ok=True, changed=changed)
