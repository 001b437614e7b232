"""Purges jobs: one by id in one transaction, those of a queue or a key in many short ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import apsw

from outlast.brokers.sqlite.bounds import weigh_job
from outlast.brokers.sqlite.history import forget_tenant
from outlast.brokers.sqlite.job_rows import RefusedCommand, find_job
from outlast.brokers.sqlite.key_states import freed
from outlast.brokers.sqlite.retention import forget, merge
from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.succession import promote_named
from outlast.brokers.sqlite.transaction import DEAD, ENDED, RUNNING, STATE_NUMBER, Transaction, json_of
from outlast.core.limits import nanos
from outlast.core.store.control import Purge

__all__ = ["CHUNK", "candidates", "is_long", "last_seq", "of_key", "purge", "purge_some"]

CHUNK: Final = 250
"""The most jobs that one transaction removes: so it blocks other writers only for milliseconds."""
_ALL: Final = (0, 2**62, -1)


def is_long(wanted: Purge) -> bool:
    """Return whether a purge may remove any number of jobs."""
    return wanted.id is None and (wanted.key is not None or wanted.queue is not None)


def purge(tx: Transaction, wanted: Purge) -> int:
    """Remove the named jobs in this transaction; return how many. Raise RefusedCommand."""
    if wanted.id is not None:
        seq, state, _, _ = find_job(tx, wanted.id)
        seqs = [seq]
        if wanted.states and not _still(tx, wanted, seqs):
            ended = state >= ENDED or _still(tx, Purge(states=("expired",)), seqs)
            raise RefusedCommand("ended" if ended else "not-ended")
    elif wanted.key is not None:
        seqs = of_key(tx.db, wanted, tx.now)
    elif wanted.queue is not None:
        seqs = [seq for (seq,) in tx.rows("purge_queue", (wanted.queue, _states(wanted), tx.now, *_ALL))]
    else:
        raise RefusedCommand("nothing-named")
    return _remove_all(tx, wanted, seqs)


def of_key(db: apsw.Connection, wanted: Purge, now: float) -> list[int]:
    """Return the rows of a key that are to be removed, without blocking writers."""
    found = db.execute(statements()["purge_key"], (wanted.key, _states(wanted), now, wanted.queue))
    return [seq for (seq,) in found]


def last_seq(db: apsw.Connection) -> int:
    """Return the last row that a purge of a queue removes: jobs accepted later stay."""
    return int(db.execute(statements()["last_seq"]).get)


def candidates(db: apsw.Connection, wanted: Purge, now: float, after: int, upto: int) -> list[int]:
    """Return the next rows of a queue that are to be removed, without blocking writers."""
    found = db.execute(statements()["purge_queue"], (wanted.queue, _states(wanted), now, after, upto, CHUNK))
    return [seq for (seq,) in found]


def purge_some(tx: Transaction, wanted: Purge, seqs: Sequence[int]) -> int:
    """Remove those of these rows that the purge still names; return how many."""
    tx.changes.update(("work", "ended"))
    done = _remove_all(tx, wanted, _still(tx, wanted, seqs))
    promote_named(tx, wanted)
    return done


def _still(tx: Transaction, wanted: Purge, seqs: Sequence[int]) -> list[int]:
    return [seq for (seq,) in tx.rows("purge_still", (json_of(seqs), _states(wanted), tx.now, wanted.key))]


def _states(wanted: Purge) -> str:
    return json_of([STATE_NUMBER[state] for state in wanted.states or STATE_NUMBER])


def _remove_all(tx: Transaction, wanted: Purge, seqs: Sequence[int]) -> int:
    tx.run("purge_count")  # the tidier erases older copies of long rows, which are in free pages
    tx.db.pragma("secure_delete", 1)  # overwrite deleted content, also where that needs an extra write
    try:
        done = {seq: _remove(tx, seq, wanted) for seq in seqs}
        removed = json_of([seq for seq, result in done.items() if result == "removed"])
        forget(tx, removed)  # a job that still runs keeps its notes
        merge(tx, removed)
        if wanted.key is not None:
            tx.run("lanes_purged", (wanted.key, wanted.queue))
            if wanted.erased:
                forget_tenant(tx, wanted.erased)
    finally:
        tx.db.pragma("secure_delete", "fast")
    return sum(result != "left" for result in done.values())


def _remove(tx: Transaction, seq: int, wanted: Purge) -> Literal["removed", "asked", "left"]:
    """Remove one job except its id, which is kept for `id_memory`; cancel a running one that only its queue names."""
    row = tx.row("purge_row", (seq, None, tx.now))
    if row is None:
        raise LookupError(f"job number {seq} is of no queue")
    state, number, no_result, _, holder, token, id_, name, enqueued_at, key_row, late, kind = row
    if wanted.queue is not None and name != wanted.queue:
        return "left"
    queue = tx.queue(name)
    counts = tx.count(number)
    if state == RUNNING:
        if wanted.id is None and wanted.key is None:
            tx.run("cancel_running", (seq,))
            return "asked"
        tx.run("lost_add", (holder, seq, token, id_, name))
    if state < ENDED:
        weigh_job(tx, queue, seq, -1)
        tx.end(number, kind, "expired" if late else "cancelled")
        counts.depth -= 1
    elif state == DEAD:
        counts.dead -= 1
    elif no_result:
        counts.records -= 1
    tx.run("purge_to_tombstone", (max(tx.now, enqueued_at + queue.id_memory), seq))
    if state == RUNNING and key_row is not None:
        freed(tx, queue, (key_row,))
    if wanted.key is None and key_row is not None:
        tx.run("lane_empty", (key_row, nanos(tx.now)))
    return "removed"
