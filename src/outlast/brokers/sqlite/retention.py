"""Applies retention: an ended job has a record for a time, then only its id, then no row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from outlast.brokers.sqlite.transaction import DEAD, QueueRow, Transaction, json_of

__all__ = ["forget", "keep_within", "merge", "prune"]

CHUNK: Final = 500
"""The most rows that one transaction prunes: so it blocks other writers only for milliseconds."""
FEW_RESULTS: Final = 8
SHARE: Final = 16
"""New results, and the part of a queue's cap, that one process stores before it counts the results again."""


def keep_within(tx: Transaction, queue: QueueRow) -> None:
    """Strip the oldest records above the queue's caps: only their ids remain."""
    if tx.new_results.get(queue.number, 0) > max(FEW_RESULTS, queue.results_kept // SHARE):
        _keep_results(tx, queue)
    over = queue.records + tx.count(queue.number).records - queue.records_kept
    if over <= 0:
        return
    upto, seqs, extras, wide = tx.one("strip_next", (queue.number, queue.pruned, over))
    if upto is None:
        return
    forget(tx, extras)
    stripped = tx.run("strip", (seqs,))
    merge(tx, wide)
    tx.run("pruned", (upto, stripped, queue.number))
    tx.refresh(queue.name)


def prune(tx: Transaction) -> tuple[int, bool]:
    """Apply the queues' retention times; return how many rows were changed, and whether more remain."""
    done = 0
    for name in tx.names():
        queue = tx.queue(name)
        keep_within(tx, queue)
        rows = tx.rows("over", (queue.number, tx.now, CHUNK))
        _reduce(tx, queue, rows)
        over = _keep_results(tx, queue)
        done += len(rows) + over
        if CHUNK in (len(rows), over):
            return done, True
    tx.run("holders_forget", (tx.boot, tx.mono - 3600.0))
    tx.run("lost_forget")
    return done, False


def _keep_results(tx: Transaction, queue: QueueRow) -> int:
    """Reduce the jobs with a result above the cap, at most CHUNK, by the end of their time; return how many."""
    tx.new_results[queue.number] = 0
    over = tx.one("results_count", (queue.number,)) - queue.results_kept
    if over <= 0:
        return 0
    rows = tx.rows("results_over", (queue.number, min(over, CHUNK)))
    _reduce(tx, queue, rows)
    return len(rows)


def _reduce(tx: Transaction, queue: QueueRow, rows: Sequence[Any]) -> None:
    """Reduce ended jobs (rows of `over`) to their ids, and delete those whose ids need not be remembered."""
    counts = tx.count(queue.number)
    forgotten, wide = [], []
    for seq, state, no_result, stripped, enqueued_at, failed, uniq_until, is_wide in rows:
        keep = max(enqueued_at + queue.id_memory, uniq_until or 0.0)
        if failed:
            forgotten.append(seq)
        if not stripped:
            if state == DEAD:
                counts.dead -= 1
            elif no_result:
                counts.records -= 1
        if keep > tx.now:
            tx.run("to_tombstone", (keep, seq))
            if is_wide:
                wide.append(seq)
        else:
            tx.run("job_delete", (seq,))
    forget(tx, json_of(forgotten))
    merge(tx, json_of(wide))


def merge(tx: Transaction, seqs: str) -> None:
    """Join the half-empty pages that the bodies of these jobs (rows as JSON) have left."""
    if seqs != "[]":
        tx.run("merge", (seqs,))


def forget(tx: Transaction, seqs: str) -> None:
    """Delete the failures and notes of these jobs (rows as JSON)."""
    if seqs != "[]":
        tx.run("extras_delete", (seqs,))
        tx.run("notes_delete", (seqs,))
