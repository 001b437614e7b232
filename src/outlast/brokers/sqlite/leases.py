"""Keeps the leases of holders: one for all jobs of a holder; when it lapses the jobs are ready again."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.bounds import cancel_job
from outlast.brokers.sqlite.succession import promote_all_successors
from outlast.brokers.sqlite.transaction import Transaction, json_of
from outlast.core.message import Fence, Holder
from outlast.core.settlement import Lost

__all__ = ["extend", "forfeit", "lapse_due", "register"]


def register(tx: Transaction, holder: Holder, queues: Sequence[str], lease: float) -> int:
    """Start the holder's lease of `lease` seconds; return its number."""
    claimed = json_of(sorted(queues))
    known = tx.row("holder_row", (holder.id,))
    if known is not None and known[1]:
        _retake(tx, known[0])
    number = int(tx.one("holder_claims", (holder.id, holder.label, tx.boot, tx.mono + lease, claimed)))
    tx.claimed[holder.id] = claimed
    return number


def lapse_due(tx: Transaction) -> None:
    """Make the jobs of holders ready whose lease ran out or is of an earlier boot. Each job counts a crash."""
    lapsed = 0
    for (holder,) in tx.rows("lapsing", (tx.boot, tx.mono)):
        tx.run("lapse_note", (holder,))
        lapsed += _make_ready(tx, holder, crashes=1)
        tx.run("lapse_mark", (holder,))
    if lapsed:
        tx.changes.add("work")
        promote_all_successors(tx)


def extend(tx: Transaction, holder: Holder, lease: float) -> list[Lost]:
    """Renew a holder's lease; return the jobs that it lost, and those that it must cancel."""
    known = tx.row("holder_row", (holder.id,))
    if known is None:
        return []
    number, lapsed = known
    if lapsed:
        _retake(tx, number)
    tx.run("holder_renew", (tx.mono + lease, tx.boot, number))
    lost = []
    if rows := tx.rows("lost_of", (number,)):
        fences = [Fence(id_, queue, token, seq) for seq, token, id_, queue in rows]
        # A job that the holder settled itself, though late, is not lost.
        lost = [Lost(fence, "superseded") for fence in fences if not tx.fence_counts(fence)]
        tx.run("lost_clear", (number,))
    for seq, id_, queue, token in tx.rows("held_cancelling", (number,)):
        lost.append(Lost(Fence(id_, queue, token, seq), "cancelled"))
    return lost


def forfeit(tx: Transaction, holder: Holder, *, crashed: bool) -> int:
    """Make the jobs of a dead holder ready, and forget the holder; return how many jobs."""
    known = tx.row("holder_row", (holder.id,))
    tx.claimed.pop(holder.id, None)
    tx.loads.pop(holder.id, None)
    if known is None:
        return 0
    number = known[0]
    count = _make_ready(tx, number, crashes=1 if crashed else 0, gone=True)
    for statement in ("lapsed_part", "lost_clear", "holder_gone"):
        tx.run(statement, (number,))
    promote_all_successors(tx)
    if count:
        tx.changes.add("work")
    return count


def _make_ready(tx: Transaction, holder: int, *, crashes: int, gone: bool = False) -> int:
    """Make a holder's jobs ready, or end those to be cancelled; return how many. gone: it cannot take one back."""
    held = tx.rows("held_lanes", (holder,))
    cancelled = tx.rows("held_cancelling", (holder,))
    for seq, _, name, _ in cancelled:
        cancel_job(tx, tx.queue(name), seq)
    ready = tx.run("held_ready", (crashes, holder, None if gone else holder))
    for name, key_row, cancelling in held:
        queue = tx.queue(name)
        if not cancelling:
            key_states.put(tx, queue, key_row)
        key_states.freed(tx, queue, (key_row,))
    return ready + len(cancelled)


def _retake(tx: Transaction, holder: int) -> None:
    """Hold lapsed jobs again that were not handed out since; the rows that remain in `lost` are lost for certain."""
    for seq, token, _, _ in tx.rows("lost_of", (holder,)):
        found = tx.row("retaking", (holder, seq, token))
        if found is None:
            continue
        if _may_begin(tx, *found):
            tx.run("retake", (seq,))
            tx.run("lost_drop", (holder, seq, token))
        else:
            tx.run("take_away", (seq,))


def _may_begin(tx: Transaction, name: str, key_row: int | None) -> bool:
    """Return whether concurrency leaves a slot for a job of this key."""
    queue = tx.queue(name)
    if queue.limits is None:
        return True
    own, each = queue.rules.concurrency, queue.rules.per_key.concurrency
    if own is not None and tx.one("running_count", (queue.number,)) >= own:
        return False
    return each is None or key_row is None or tx.one("lane_running", (key_row,)) < each
