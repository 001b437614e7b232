"""Changes the states of keys: which of them join the ring, and when (core.select.RoundRobin)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from outlast.brokers.sqlite.transaction import QueueRow, Transaction, json_of
from outlast.core.limits import nanos
from outlast.core.settlement import Settlement

__all__ = ["WHERE", "ending_keys", "find", "freed", "join", "promote", "put", "unpark", "wake"]

WHERE: Final = {"out": 0, "ring": 1, "slot": 2, "rate": 3}
"""The column `place` by `core.select.KeyState.where`."""
_pairs: Final = msgspec.json.Decoder(list[tuple[int | None, int | None]]).decode
_seqs: Final = msgspec.json.Decoder(list[int]).decode
_numbers: Final = msgspec.json.Decoder(list[tuple[int, int]]).decode


def find(tx: Transaction, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Return the rows of these keys, each (queue, key); new ones are numbered in this order."""
    text = json_of(keys)
    found = _pairs(tx.one("lanes_find", (text,)))
    if any(row is None for row, _ in found):
        tx.run("lanes_add", (text,))
        found = _pairs(tx.one("lanes_find", (text,)))
    return {key: row for key, (row, _) in zip(keys, found, strict=True) if row is not None}


def join(tx: Transaction, queue: QueueRow, key_rows: Iterable[int], where: str = "out") -> None:
    """Add those of these keys that are in state `where` to the back of the ring, in this order."""
    wanted = list(dict.fromkeys(key_rows))
    if wanted:
        ring = tx.ring(queue)
        if tx.run("lanes_join", (json_of(wanted), ring.back, WHERE[where])):
            ring.extend(len(wanted))


def put(tx: Transaction, queue: QueueRow, key_row: int | None) -> None:
    """Add the key of a job that became ready to the ring, unless the key is in it or parked."""
    if key_row is not None:
        join(tx, queue, (key_row,))


def promote(tx: Transaction, queue: QueueRow) -> None:
    """Make due jobs ready, first due first."""
    if tx.ring(queue).back:
        join(tx, queue, _seqs(tx.one("due_lanes", (queue.number, tx.now))))
    tx.run("promote", (queue.number, tx.now))


def freed(tx: Transaction, queue: QueueRow, key_rows: Iterable[int]) -> None:
    """Add those of these keys that waited for a slot to the ring: one of their jobs has stopped running."""
    if queue.rules.per_key.concurrency is not None:
        join(tx, queue, key_rows, "slot")


def wake(tx: Transaction, queue: QueueRow) -> None:
    """Add the parked keys whose `wake` has come to the ring."""
    ring = tx.ring(queue)
    ring.extend(tx.run("lanes_wake", (queue.number, nanos(tx.now), ring.back)))


def unpark(tx: Transaction, queue: QueueRow) -> None:
    """Add every parked key to the ring, in the order of their turns: the limits have changed."""
    ring = tx.ring(queue)
    ring.extend(tx.run("lanes_unpark", (queue.number, ring.back)))
    if queue.rules.per_key.rate is None:
        tx.run("lanes_unrated", (queue.number,))


def ending_keys(
    tx: Transaction, names: Iterable[str], settlements: Sequence[Settlement]
) -> list[tuple[QueueRow, list[int]]]:
    """Return, by queue, the keys whose jobs these settlements end: pass them to `freed` once all are applied.

    Call it before they are applied: it finds only running jobs.
    """
    limited = [queue for name in sorted(names) if (queue := tx.queue(name)).limits is not None]
    keyed = [queue for queue in limited if queue.rules.per_key.concurrency is not None]
    if keyed or any(queue.rules.concurrency is not None for queue in limited):
        tx.changes.add("work")  # a claim may wait for the slot
    if not keyed:
        return []
    queues = {queue.name for queue in keyed}
    fences = [(each.fence.row, each.fence.token) for each in settlements if each.fence.queue in queues]
    key_rows: dict[int, list[int]] = defaultdict(list)
    for number, key_row in _numbers(tx.one("settled_lanes", (json_of(fences),))):
        key_rows[number].append(key_row)
    return [(queue, key_rows[queue.number]) for queue in keyed]
