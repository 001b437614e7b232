"""Lets successors take their unique key, by the rules of core.succession; queues without unique keys skip it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.bounds import drop
from outlast.brokers.sqlite.retention import keep_within
from outlast.brokers.sqlite.transaction import READY, STATES, QueueRow, Transaction, json_of
from outlast.core.store.control import Command, queue_named
from outlast.core.succession import Turn, turn_of

__all__ = ["has_turn", "next_lapse_of_key", "promote_all_successors", "promote_named", "promote_successors"]


def promote_all_successors(tx: Transaction) -> None:
    """Promote the successors of all queues."""
    promote_successors(tx, [tx.queue(name) for name in tx.names()])


def promote_named(tx: Transaction, command: Command) -> None:
    """Promote the successors in the queues whose jobs a command may have changed."""
    name = queue_named(command)
    if name is None:
        promote_all_successors(tx)
    elif (queue := tx.find_queue(name)) is not None:
        promote_successors(tx, [queue])


def promote_successors(tx: Transaction, queues: Iterable[QueueRow]) -> None:
    """Let each successor in these queues take its key, or end, where the key's holder is out of the way."""
    rows = {queue.number: queue for queue in queues if queue.uniques}
    for turn, (seq, number, key_row, _, holder, *_) in _turns(tx, rows):
        queue = rows[number]
        if turn in ("yields", "expires"):
            drop(tx, queue, seq, "expired" if turn == "expires" else "replaced")
        else:
            if turn == "replaces":
                drop(tx, queue, holder, "replaced")
            elif holder is not None:
                tx.run("uniq_free", (holder,))
            if tx.one("succeed", (seq, tx.now)) == READY:
                key_states.put(tx, queue, key_row)
            tx.changes.add("work")
        keep_within(tx, tx.queue(queue.name))


def has_turn(tx: Transaction, queue: QueueRow) -> bool:
    """Return whether `promote_successors` would change a job of the queue; this writes nothing."""
    return queue.uniques and bool(_turns(tx, {queue.number: queue}))


def next_lapse_of_key(tx: Transaction, queue: QueueRow) -> float | None:
    """Return the wall time at which a key that a successor waits for lapses, None for never."""
    found: float | None = tx.one("next_key_lapse", (queue.number,)) if queue.uniques else None
    return found


def _turns(tx: Transaction, queues: dict[int, QueueRow]) -> list[tuple[Turn, tuple[Any, ...]]]:
    """Return the successors of these queues that do something now, in the order of acceptance."""
    if not queues:
        return []
    found: list[tuple[Turn, tuple[Any, ...]]] = []
    for row in tx.rows("successors", (json_of(list(queues)), tx.now)):
        seq, _, _, late, holder, state, lapsed = row
        turn = turn_of(
            None if holder is None else STATES[state],
            late=bool(late),
            lapsed=bool(lapsed),
            newer=holder is not None and holder > seq,
        )
        if turn != "waits":
            found.append((turn, row))
    return found
