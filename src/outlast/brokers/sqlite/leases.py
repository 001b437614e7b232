"""Who holds what: a holder has one lease for all its jobs; when it lapses they are ready again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.bounds import cancel_job
from outlast.brokers.sqlite.transaction import Transaction
from outlast.core.message import Fence, Holder
from outlast.core.settlement import Lost

__all__ = ["extend", "forfeit", "lapse_due", "register"]


def register(tx: Transaction, holder: Holder, queues: Sequence[str], lease: float) -> int:
    """Return the holder's number, its lease running from now."""
    asked = msgspec.json.encode(sorted(queues)).decode()
    known = tx.row("holder_row", (holder.id,))
    if known is not None and known[1]:
        _retake(tx, known[0])
    number = int(tx.one("holder_claims", (holder.id, holder.label, tx.boot, tx.mono + lease, asked)))
    tx.holders[holder.id] = number
    tx.asked[holder.id] = asked
    return number


def lapse_due(tx: Transaction) -> None:
    """Make ready what the holders held whose lease ran out, or who are of an earlier boot. Each job counts a crash."""
    for (holder,) in tx.rows("lapsing", (tx.boot, tx.mono)):
        tx.run("lapse_note", (holder,))
        if _let_go(tx, holder, crashes=1):
            tx.work = True
        tx.run("lapse_mark", (holder,))


def extend(tx: Transaction, holder: Holder, lease: float) -> list[Lost]:
    """Renew a holder; return what it lost, and what it is to cancel."""
    known = tx.row("holder_row", (holder.id,))
    if known is None:
        tx.holders.pop(holder.id, None)
        return []
    number, lapsed = known
    if lapsed:
        _retake(tx, number)
    tx.run("holder_renew", (tx.mono + lease, tx.boot, number))
    lost = []
    if rows := tx.rows("lost_of", (number,)):
        fences = [Fence(id_, queue, token, seq) for seq, token, id_, queue in rows]
        # What it reported on itself, if late, is not lost to it.
        lost = [Lost(fence, "superseded") for fence in fences if not tx.fence_counts(fence)]
        tx.run("lost_clear", (number,))
    for seq, id_, queue, token in tx.rows("held_cancelling", (number,)):
        lost.append(Lost(Fence(id_, queue, token, seq), "cancelled"))
    return lost


def forfeit(tx: Transaction, holder: Holder, *, crashed: bool) -> int:
    """Make ready what a dead holder held, and forget it; return how many jobs."""
    known = tx.row("holder_row", (holder.id,))
    tx.holders.pop(holder.id, None)
    tx.asked.pop(holder.id, None)
    if known is None:
        return 0
    number = known[0]
    count = _let_go(tx, number, crashes=1 if crashed else 0, gone=True)
    tx.run("lapsed_part", (number,))
    tx.run("lost_clear", (number,))
    tx.run("holder_gone", (number,))
    if count:
        tx.work = True
    return count


def _let_go(tx: Transaction, holder: int, *, crashes: int, gone: bool = False) -> int:
    """Make ready what a holder held, or end it where that was wanted; return how many. gone: it takes none back."""
    held = tx.rows("held_lanes", (holder,))
    ended = _end_cancelled(tx, holder)
    ready = tx.run("held_ready", (crashes, holder, None if gone else holder))
    for name, key_row, cancelling in held:
        queue = tx.queue(name)
        if not cancelling:
            key_states.put(tx, queue, key_row)
        key_states.freed(tx, queue, (key_row,))
    return ready + ended


def _end_cancelled(tx: Transaction, holder: int) -> int:
    """End the held jobs that somebody wanted cancelled."""
    rows = tx.rows("held_cancelling", (holder,))
    for seq, _, name, _ in rows:
        cancel_job(tx, tx.queue(name), seq)
    return len(rows)


def _retake(tx: Transaction, holder: int) -> None:
    """Hold again what lapsed and was not handed out since; what remains noted is lost for certain."""
    for seq, token, _, _ in tx.rows("lost_of", (holder,)):
        found = tx.row("retaking", (holder, seq, token))
        if found is None:
            continue
        if _may_begin(tx, *found):
            tx.run("retake", (holder, seq, token))
            tx.run("lost_drop", (holder, seq, token))
        else:
            tx.run("take_away", (seq,))


def _may_begin(tx: Transaction, name: str, key_row: int | None) -> bool:
    """Tell whether concurrency leaves a slot for a job of this key."""
    queue = tx.queue(name)
    if queue.limits is None:
        return True
    own, each = queue.rules.concurrency, queue.rules.per_key.concurrency
    if own is not None and tx.one("running_count", (queue.number,)) >= own:
        return False
    return each is None or key_row is None or tx.one("lane_running", (key_row,)) < each
