"""Commands of people and tools: cancel, redrive, edit, run now, pause, purge, prune."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.brokers.sqlite.retention import forget, prune
from outlast.brokers.sqlite.transaction import (
    DEAD,
    ENDED,
    PARKED,
    PRIORITIES,
    PRIORITY_NUMBER,
    READY,
    RUNNING,
    SCHEDULED,
    STATE_NUMBER,
    SUCCEEDED,
    QueueRow,
    Transaction,
)
from outlast.core.ids import queue_of
from outlast.core.message import rank_of
from outlast.core.protocols import Answer, Cancel, Command, Edit, Pause, Prune, Purge, Redrive, RunNow

__all__ = ["apply"]


def apply(tx: Transaction, commands: Sequence[Command]) -> list[Answer]:
    """Apply the commands in order; return an answer for each."""
    tx.work = tx.ended = True
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
        case Pause(queue, on):
            tx.queue(queue)
            changed = tx.run("queue_pause", (int(on), queue))
            tx.refresh(queue)
            return Answer(ok=True, changed=changed)
        case Purge():
            return _purge(tx, command)
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
    tx.run("cancel_waiting", (tx.now + queue.record_ttl, tx.now, seq))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.records += 1
    counts.drained += 1
    return Answer(ok=True, changed=1)


def _redrive(tx: Transaction, id_: str) -> Answer:
    found = _find(tx, id_)
    if found is None:
        return Answer(ok=False, why="unknown")
    seq, state, priority, queue, _ = found
    if state <= SUCCEEDED:
        return Answer(ok=False, why="not-ended" if state < ENDED else "ended")
    tx.run("redrive", (rank_of(tx.now, PRIORITIES[priority]), tx.now, seq))
    counts = tx.count(queue.number)
    counts.depth += 1
    if state == DEAD:
        counts.dead -= 1
    else:
        counts.records -= 1
    return Answer(ok=True, changed=1)


def _waiting(tx: Transaction, id_: str) -> int | Answer:
    """Return the seq of a job that waits, or why it can't be changed."""
    found = _find(tx, id_)
    if found is None:
        return Answer(ok=False, why="unknown")
    seq, state, *_ = found
    if state == RUNNING:
        return Answer(ok=False, why="running")
    return Answer(ok=False, why="ended") if state >= ENDED else seq


def _edit(tx: Transaction, edit: Edit) -> Answer:
    seq = _waiting(tx, edit.id)
    if isinstance(seq, Answer):
        return seq
    row = tx.row("edit_row", (seq,))
    assert row is not None
    state, at, run_at, rank, priority, body = row
    if edit.args is not None:
        body = bytes(edit.args).decode()
    if edit.priority is not None:
        priority = PRIORITY_NUMBER[edit.priority]
    if edit.run_at is not None:
        run_at = edit.run_at
        state, at = (READY, None) if run_at <= tx.now else (SCHEDULED, run_at)
    if edit.priority is not None or edit.run_at is not None:
        rank = rank_of(run_at, PRIORITIES[priority])
    tx.run("edit", (state, at, run_at, rank, priority, body, seq))
    return Answer(ok=True, changed=1)


def _run_now(tx: Transaction, id_: str) -> Answer:
    seq = _waiting(tx, id_)
    if isinstance(seq, Answer):
        return seq
    found = tx.row("edit_row", (seq,))
    if found is None or found[0] not in (SCHEDULED, PARKED):
        return Answer(ok=False, why="not-waiting")
    tx.run("run_now", (seq,))
    return Answer(ok=True, changed=1)


def _purge(tx: Transaction, purge: Purge) -> Answer:
    if purge.id is not None:
        row = tx.row("by_id", (purge.id,))
        if row is None:
            return Answer(ok=False, why="unknown")
        seqs = [row[0]]
    elif purge.key is not None:
        seqs = [seq for (seq,) in tx.rows("purge_key", (purge.key,))]
        if purge.queue is not None:
            number = tx.queue(purge.queue).number
            seqs = [seq for seq in seqs if (found := tx.row("purge_row", (seq,))) and found[1] == number]
    elif purge.queue is not None:
        queue = tx.find_queue(purge.queue)
        if queue is None:
            return Answer(ok=False, why="unknown")
        states = [STATE_NUMBER[state] for state in purge.states] or [s for s in STATE_NUMBER.values() if s != RUNNING]
        if RUNNING in states:
            return Answer(ok=False, why="running")
        seqs = [seq for state in states for (seq,) in tx.rows("purge_queue", (queue.number, state))]
    else:
        return Answer(ok=False, why="nothing-named")
    removed = 0
    for seq in seqs:
        removed += _remove(tx, seq)
    forget(tx, seqs)
    return Answer(ok=True, changed=removed)


def _remove(tx: Transaction, seq: int) -> int:
    """Remove one job; return 1 unless only its id was left."""
    row = tx.row("purge_row", (seq,))
    assert row is not None
    state, queue, no_result, stripped, holder, token, id_, name = row
    tx.queue(name)
    counts = tx.count(queue)
    if state < ENDED:
        counts.depth -= 1
        if state == RUNNING:
            tx.run("lost_add", (holder, seq, token, id_, name))
    elif not stripped:
        if state == DEAD:
            counts.dead -= 1
        elif no_result:
            counts.records -= 1
    tx.run("job_delete", (seq,))
    return 0 if stripped else 1
