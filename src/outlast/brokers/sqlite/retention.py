"""What ended jobs leave behind: a record for a while, then only their id, then nothing."""

from __future__ import annotations

from typing import Final

import msgspec

from outlast.brokers.sqlite.transaction import DEAD, QueueRow, Transaction

__all__ = ["forget", "keep_within", "merge", "prune"]

CHUNK: Final = 500
"""Rows that one transaction prunes: it holds up the other writers only for milliseconds."""


def keep_within(tx: Transaction, queue: QueueRow) -> None:
    """Strip the oldest records that are over the queue's cap, to the id that is still remembered."""
    over = queue.records + tx.count(queue.number).records - queue.records_kept
    if over <= 0:
        return
    upto = tx.one("strip_upto", (queue.number, queue.pruned, over))
    if upto is None:
        return
    extras, wide = tx.one("strip_extras", (queue.number, queue.pruned, over))
    if extras != "[]":
        tx.run("extras_delete", (extras,))
        tx.run("notes_delete", (extras,))
    stripped = tx.run("strip", (queue.number, queue.pruned, over))
    if wide != "[]":
        tx.run("merge", (wide,))
    tx.run("pruned", (upto, stripped, queue.number))
    tx.refresh(queue.name)


def prune(tx: Transaction) -> tuple[int, bool]:
    """Apply the queues' times; return how many rows were touched, and whether there is more to do."""
    done = 0
    for name in tx.names():
        queue = tx.queue(name)
        keep_within(tx, queue)
        rows = tx.rows("over", (queue.number, tx.now, CHUNK))
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
                tx.run("bury", (keep, seq))
                if is_wide:
                    wide.append(seq)
            else:
                tx.run("job_delete", (seq,))
        forget(tx, forgotten)
        merge(tx, wide)
        done += len(rows)
        if len(rows) == CHUNK:
            return done, True
    tx.run("holders_forget", (tx.boot, tx.mono - 3600.0))
    tx.run("lost_forget")
    return done, False


def merge(tx: Transaction, seqs: list[int]) -> None:
    """Give back the room that the bodies of these jobs took."""
    if seqs:
        tx.run("merge", (msgspec.json.encode(seqs).decode(),))


def forget(tx: Transaction, seqs: list[int]) -> None:
    """Remove what is kept beside these jobs."""
    if seqs:
        text = msgspec.json.encode(seqs).decode()
        tx.run("extras_delete", (text,))
        tx.run("notes_delete", (text,))
