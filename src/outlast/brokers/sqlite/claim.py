"""Hands out jobs in the order of core.select, and computes when to look again when there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import apsw
import msgspec
from msgspec import Raw

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.claim_window import ClaimWindow, is_limited, room_of
from outlast.brokers.sqlite.job_rows import meta_of
from outlast.brokers.sqlite.leases import lapse_due, register
from outlast.brokers.sqlite.loads import has_news, take_loads
from outlast.brokers.sqlite.succession import has_turn, next_lapse_of_key, promote_successors
from outlast.brokers.sqlite.transaction import PRIORITIES, QueueRow, Transaction, json_of
from outlast.brokers.sqlite.unreadable import fetch, set_aside
from outlast.core.ids import queue_of
from outlast.core.limits import nanos
from outlast.core.message import Delivery, Fence, Holder, Message
from outlast.core.select import select, wanted
from outlast.core.unreadable import READ_ERRORS

__all__ = ["claim", "next_look", "nothing_to_claim"]

Row = tuple[int, str, str, int, int, int, float, float, float | None, int, str | None, str | None, str]
_rows: Final = msgspec.json.Decoder(list[Row]).decode
_seqs: Final = msgspec.json.Decoder(list[int]).decode
_COLUMNS: Final = (
    "job.seq", "job.id", "kind", "attempt", "crashes", "begun", "enqueued_at", "run_at", "expires_at", "priority",
    "lane.key", "meta", "body",
)  # fmt: skip
_ROW: Final = "from job join queue using (queue) left join lane on lane.lane = job.lane where job.seq = ?"


def nothing_to_claim(tx: Transaction, demand: Mapping[str, int], holder: Holder) -> bool:
    """Return whether a claim would hand out nothing, so that it needs no synced transaction; this writes nothing."""
    if tx.claimed.get(holder.id) != json_of(sorted(demand)) or has_news(tx, holder):
        return False
    if tx.rows("lapsing", (tx.boot, tx.mono)):
        return False
    for name in wanted(demand):
        queue = tx.find_queue(name)
        if queue is None or queue.paused or room_of(tx, queue) == 0:
            continue
        if tx.one("probe", (queue.number, tx.now)) or tx.one("parked_probe", (queue.number, tx.kinds)):
            return False
        if queue.back and tx.one("lane_probe", (queue.number, nanos(tx.now))):
            return False
        if has_turn(tx, queue):
            return False
    return True


def next_look(tx: Transaction, demand: Mapping[str, int], holder: Holder) -> float | None:
    """Return the seconds until a job of these queues is due, limits leave room for one, or a lease may lapse.

    None: no such time is known. A slot that becomes free is notified.
    """
    waits = []
    for name in wanted(demand):
        queue = tx.find_queue(name)
        if queue is not None and not queue.paused:
            waits += _looks(tx, queue)
    lapse = tx.one("next_lapse", (holder.id,))
    if lapse is not None:
        waits.append(lapse - tx.mono)
    return max(0.0, min(waits)) if waits else None


def _looks(tx: Transaction, queue: QueueRow) -> list[float]:
    """Return the seconds after which a queue may have a job to hand out, one number for each cause."""
    ring = tx.ring(queue)
    if room_of(tx, queue) == 0:
        rules = queue.rules
        full = rules.concurrency is not None and tx.one("running_count", (queue.number,)) >= rules.concurrency
        if full or rules.gcra is None:
            return []
        return [(rules.gcra.next_at(ring.tat, nanos(tx.now)) - nanos(tx.now)) / 1e9]
    due = tx.one("next_due", (queue.number,))
    wake = tx.one("lane_next", (queue.number,)) if ring.back else None
    lapse = next_lapse_of_key(tx, queue)
    return [
        *([] if lapse is None else [lapse - tx.now]),
        *([] if due is None else [due - tx.now]),
        *([] if wake is None else [(wake - nanos(tx.now)) / 1e9]),
    ]


def claim(tx: Transaction, demand: Mapping[str, int], limit: int, holder: Holder, lease: float) -> list[Delivery]:
    """Hand out at most `limit` jobs, at most `demand[q]` of queue q; queues give one job each in turn."""
    number = register(tx, holder, list(demand), lease)
    if has_news(tx, holder):
        take_loads(tx, holder, number, wanted(demand))
    lapse_due(tx)
    queues = {
        name: row
        for name in wanted(demand)
        if (row := tx.find_queue(name)) is not None and not row.paused and room_of(tx, row) != 0
    }
    promote_successors(tx, queues.values())
    for row in queues.values():
        _promote(tx, row, limit)
    if any(tx.ring(row).back or is_limited(row) for row in queues.values()):
        return _by_rules(tx, queues, {name: min(limit, demand[name]) for name in queues}, limit, number)
    shares = _shares(tx, {name: (queues[name].number, min(limit, demand[name])) for name in queues}, limit)
    token = 0
    batches: list[list[Delivery]] = []
    for name, share in shares.items():
        picked = tx.one("pick", (queues[name].number, share))
        if picked == "[]":
            continue
        token = token or tx.one("next_fence")
        tx.run("hand_out", (token, number, picked))
        if queues[name].uniques:
            tx.run("free_at_start", (picked,))
        if batch := _read_out(tx, "read_out", picked, token, name):
            batches.append(batch)
    if len(batches) <= 1:
        deliveries = batches[0] if batches else []
    else:
        deliveries = [batch[turn] for turn in range(max(map(len, batches))) for batch in batches if turn < len(batch)]
    if deliveries:
        tx.last_served = deliveries[-1].fence.queue
    return deliveries


def _promote(tx: Transaction, row: QueueRow, limit: int) -> None:
    """Make due jobs ready, and parked jobs of kinds that this process can run."""
    key_states.promote(tx, row)
    if tx.one("parked_probe", (row.number, tx.kinds)):
        if tx.ring(row).back:
            key_states.join(tx, row, _seqs(tx.one("unpark_lanes", (row.number, tx.kinds, limit))))
        tx.run("unpark", (row.number, tx.kinds, tx.now, limit))


def _by_rules(
    tx: Transaction, queues: Mapping[str, QueueRow], demand: Mapping[str, int], limit: int, holder: int
) -> list[Delivery]:
    """Hand out the jobs that core.select selects from these queues; some have keys or limits."""
    windows = {name: ClaimWindow.of(tx, row, demand[name]) for name, row in queues.items()}
    jobs, tx.last_served = select(windows, tx.last_served, limit, demand, tx.now)
    for window in windows.values():
        window.save()
    if not jobs:
        return []
    picked = json_of(jobs)
    token = tx.one("next_fence")
    tx.run("hand_out", (token, holder, picked))
    if any(row.uniques for row in queues.values()):
        tx.run("free_at_start", (picked,))
    return _read_out(tx, "read_out_keys", picked, token, tx.last_served if len(queues) == 1 else None)


def _read_out(
    tx: Transaction, statement: Literal["read_out", "read_out_keys"], picked: str, token: int, queue: str | None
) -> list[Delivery]:
    """Return the deliveries of the rows that were handed out, all of `queue` unless it is None.

    One that cannot be read fails the read of all: then they are read one by one, and it is set aside.
    """
    try:
        rows = _rows(tx.one(statement, (picked,)))
        return [_delivery(row, queue or queue_of(row[1]), token) for row in rows]
    except (apsw.SQLError, *READ_ERRORS):
        return _read_singly(tx, _seqs(picked), token)


def _read_singly(tx: Transaction, seqs: Sequence[int], token: int) -> list[Delivery]:
    deliveries = []
    for seq in seqs:
        ((name, *values),) = fetch(tx.db, ("queue.name", *_COLUMNS), _ROW, (seq,))
        try:
            row = msgspec.convert(values, Row)
            if queue_of(row[1]) != name:
                raise ValueError("its id is of another queue")
            deliveries.append(_delivery(row, name, token))
        except READ_ERRORS as error:
            set_aside(tx, seq, name, error)
    return deliveries


def _shares(tx: Transaction, asked: dict[str, tuple[int, int]], limit: int) -> dict[str, int]:
    """Return how many jobs each queue gives, in round-robin order, beginning behind the queue that gave the last."""
    names = list(asked)
    start = sum(name <= tx.last_served for name in names)
    ring = names[start:] + names[:start]
    if len(ring) == 1:
        return {ring[0]: asked[ring[0]][1]} if limit > 0 else {}
    waiting = {name: tx.one("ready_count", asked[name]) for name in ring}
    ring = [name for name in ring if waiting[name]]
    shares = dict.fromkeys(ring, 0)
    left = limit
    while left > 0:
        open_ = [name for name in ring if shares[name] < waiting[name]]
        if not open_:
            break
        each = min(max(1, left // len(open_)), *(waiting[name] - shares[name] for name in open_))
        for name in open_[:left]:
            shares[name] += each
            left -= each
    return {name: share for name, share in shares.items() if share}


def _delivery(row: Row, queue: str, token: int) -> Delivery:
    seq, id_, kind, attempt, crashes, begun, enqueued_at, run_at, expires_at, priority, key, meta, body = row
    more: dict[str, Any] = {}
    if meta is not None:
        kept = meta_of(meta)
        more = {"headers": kept.headers, "redacted": kept.redacted, "unique": kept.unique}
    message = Message(
        id=id_,
        queue=queue,
        kind=kind,
        args=Raw(body.encode()),
        enqueued_at=enqueued_at,
        run_at=run_at,
        priority=PRIORITIES[priority],
        key=key,
        expires_at=expires_at,
        **more,
    )
    begun = begun or attempt > 1 or crashes > 0
    return Delivery(message, Fence(id_, queue, token, seq), attempt, crashes, bool(begun))
