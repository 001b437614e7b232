"""States of keys: which of them join the ring, and when (core.select.RoundRobin)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from outlast.brokers.sqlite.transaction import QueueRow, Transaction
from outlast.core.limits import nanos
from outlast.core.settlement import Settlement

__all__ = ["WHERE", "FreedKeys", "find", "freed", "join", "promote", "put", "unpark", "wake"]

WHERE: Final = {"out": 0, "ring": 1, "slot": 2, "rate": 3}
"""The column `place` by `core.select.KeyState.where`."""
_encode: Final = msgspec.json.Encoder().encode
_pairs: Final = msgspec.json.Decoder(list[tuple[int | None, int | None]]).decode
_seqs: Final = msgspec.json.Decoder(list[int]).decode
_numbers: Final = msgspec.json.Decoder(list[tuple[int, int]]).decode


def find(tx: Transaction, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Return the rows of these keys, given as (queue, key); new ones are numbered in this order."""
    text = _encode(keys).decode()
    found = _pairs(tx.one("lanes_find", (text,)))
    if any(row is None for row, _ in found):
        tx.run("lanes_add", (text,))
        found = _pairs(tx.one("lanes_find", (text,)))
    return {key: row for key, (row, _) in zip(keys, found, strict=True) if row is not None}


def join(tx: Transaction, queue: QueueRow, key_rows: Iterable[int], where: str = "out") -> None:
    """Let those of these keys that are in state `where` join the ring at its back, in this order."""
    wanted = list(dict.fromkeys(key_rows))
    if wanted:
        ring = tx.ring(queue)
        if tx.run("lanes_join", (_encode(wanted).decode(), ring.back, WHERE[where])):
            ring.back += len(wanted)
            ring.changed = True


def put(tx: Transaction, queue: QueueRow, key_row: int | None) -> None:
    """Let the key of a job that is ready now join, unless it is in the ring or parked."""
    if key_row is not None:
        join(tx, queue, (key_row,))


def promote(tx: Transaction, queue: QueueRow) -> None:
    """Make ready what is due, first due first."""
    if tx.ring(queue).back:
        join(tx, queue, _seqs(tx.one("due_lanes", (queue.number, tx.now))))
    tx.run("promote", (queue.number, tx.now))


def freed(tx: Transaction, queue: QueueRow, key_rows: Iterable[int]) -> None:
    """Let keys that waited for a slot join: a job of theirs runs no more."""
    if queue.rules.per_key.concurrency is not None:
        join(tx, queue, key_rows, "slot")


def wake(tx: Transaction, queue: QueueRow) -> None:
    """Let the parked keys whose time has come join."""
    ring = tx.ring(queue)
    woken = tx.run("lanes_wake", (queue.number, nanos(tx.now), ring.back))
    if woken:
        ring.back += woken
        ring.changed = True


def unpark(tx: Transaction, queue: QueueRow) -> None:
    """Let every parked key join, in the order of their turns: the limits have changed."""
    ring = tx.ring(queue)
    woken = tx.run("lanes_unpark", (queue.number, ring.back))
    if woken:
        ring.back += woken
        ring.changed = True
    if queue.rules.per_key.rate is None:
        tx.run("lanes_unrated", (queue.number,))


class FreedKeys:
    """The keys of what a batch of settlements ends, looked up before it does: they may join once all is applied."""

    def __init__(self, tx: Transaction, names: Iterable[str], settlements: Sequence[Settlement]) -> None:
        limited = {name for name in names if _limited(tx, name)}
        self._tx = tx
        self._queues = [
            tx.queue(name) for name in sorted(limited) if tx.queue(name).rules.per_key.concurrency is not None
        ]
        self._key_rows: dict[int, list[int]] = {}
        if limited:
            tx.work = True  # a claim may wait for the slot
        if self._queues:
            numbers = {queue.name for queue in self._queues}
            fences = [(each.fence.row, each.fence.token) for each in settlements if each.fence.queue in numbers]
            for queue, key_row in _numbers(tx.one("settled_lanes", (_encode(fences).decode(),))):
                self._key_rows.setdefault(queue, []).append(key_row)

    def free(self) -> None:
        """Let them join."""
        for queue in self._queues:
            freed(self._tx, queue, self._key_rows.get(queue.number, ()))


def _limited(tx: Transaction, name: str) -> bool:
    queue = tx.queue(name)
    if queue.limits is None:
        return False
    rules = queue.rules
    return rules.concurrency is not None or rules.per_key.concurrency is not None
