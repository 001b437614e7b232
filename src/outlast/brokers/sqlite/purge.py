"""Removing jobs for good: by id in one step, a whole queue or all of a key in many short ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import apsw
import msgspec

from outlast.brokers.sqlite.bounds import weigh_job
from outlast.brokers.sqlite.key_states import freed
from outlast.brokers.sqlite.retention import forget, merge
from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.transaction import DEAD, ENDED, RUNNING, STATE_NUMBER, Transaction
from outlast.core.limits import nanos
from outlast.core.store.control import Answer, Purge

__all__ = ["CHUNK", "candidates", "is_long", "last_seq", "of_key", "purge", "purge_some"]

CHUNK: Final = 250
"""Jobs that one transaction removes of many: it holds up the other writers only for milliseconds."""
_ALL: Final = (0, 2**62, -1)


def is_long(wanted: Purge) -> bool:
    """Tell whether it may be of any number of jobs."""
    return wanted.id is None and (wanted.key is not None or wanted.queue is not None)


def purge(tx: Transaction, wanted: Purge) -> Answer:
    """Remove what is named, in this transaction."""
    if wanted.id is not None:
        row = tx.row("by_id", (wanted.id,))
        if row is None or row[6]:
            return Answer(ok=False, why="unknown")
        seqs = [row[0]]
        if wanted.states and not _still(tx, wanted, seqs):
            over = row[2] >= ENDED or _still(tx, Purge(states=("expired",)), seqs)
            return Answer(ok=False, why="ended" if over else "not-ended")
    elif wanted.key is not None:
        seqs = of_key(tx.db, wanted, tx.now)
    elif wanted.queue is not None:
        seqs = [seq for (seq,) in tx.rows("purge_queue", (wanted.queue, _states(wanted), tx.now, *_ALL))]
    else:
        return Answer(ok=False, why="nothing-named")
    return Answer(ok=True, changed=_remove_all(tx, wanted, seqs))


def of_key(db: apsw.Connection, wanted: Purge, now: float) -> list[int]:
    """Return the rows of a key that are to be removed, without holding up anybody who writes."""
    found = db.execute(statements()["purge_key"], (wanted.key, _states(wanted), now, wanted.queue))
    return [seq for (seq,) in found]


def last_seq(db: apsw.Connection) -> int:
    """Return where a purge of a queue ends: what is accepted later stays."""
    return int(db.execute(statements()["last_seq"]).get)


def candidates(db: apsw.Connection, wanted: Purge, now: float, after: int, upto: int) -> list[int]:
    """Return the next rows of a queue to be removed, without holding up anybody who writes."""
    found = db.execute(statements()["purge_queue"], (wanted.queue, _states(wanted), now, after, upto, CHUNK))
    return [seq for (seq,) in found]


def purge_some(tx: Transaction, wanted: Purge, seqs: Sequence[int]) -> int:
    """Remove those of these rows that are still meant; return how many."""
    tx.work = tx.ended = True
    return _remove_all(tx, wanted, _still(tx, wanted, seqs))


def _still(tx: Transaction, wanted: Purge, seqs: Sequence[int]) -> list[int]:
    text = msgspec.json.encode(seqs).decode()
    return [seq for (seq,) in tx.rows("purge_still", (text, _states(wanted), tx.now, wanted.key))]


def _states(wanted: Purge) -> str:
    return msgspec.json.encode([STATE_NUMBER[state] for state in wanted.states or STATE_NUMBER]).decode()


def _remove_all(tx: Transaction, wanted: Purge, seqs: Sequence[int]) -> int:
    tx.run("purge_count")  # older copies of long rows are in free pages: the tidier sees to these
    tx.db.pragma("secure_delete", 1)  # also where it is a write of its own
    try:
        done = {seq: _remove(tx, seq, wanted) for seq in seqs}
        removed = [seq for seq, what in done.items() if what == "removed"]
        forget(tx, removed)  # one that runs on keeps what it noted
        merge(tx, removed)
        if wanted.key is not None:
            tx.run("lanes_purged", (wanted.key, wanted.queue))
    finally:
        tx.db.pragma("secure_delete", "fast")
    return sum(what != "left" for what in done.values())


def _remove(tx: Transaction, seq: int, wanted: Purge) -> Literal["removed", "asked", "left"]:
    """Remove one job but for its id, which is remembered for its time; ask one that runs to stop unless it is named."""
    row = tx.row("purge_row", (seq,))
    assert row is not None
    state, number, no_result, _, holder, token, id_, name, enqueued_at, key_row = row
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
        counts.depth -= 1
    elif state == DEAD:
        counts.dead -= 1
    elif no_result:
        counts.records -= 1
    tx.run("bury_now", (max(tx.now, enqueued_at + queue.id_memory), seq))
    if state == RUNNING and key_row is not None:
        freed(tx, queue, (key_row,))
    if wanted.key is None and key_row is not None:
        tx.run("lane_empty", (key_row, nanos(tx.now)))
    return "removed"
