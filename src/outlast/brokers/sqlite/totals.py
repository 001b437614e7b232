"""Counts ended jobs by queue, kind and outcome, in the transaction that ends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.transaction import QueueRow, Transaction, json_of
from outlast.core.store.totals import MOST_KINDS, OTHER, OUTCOMES, Outcome

__all__ = ["declare_kinds", "end_of", "move_totals", "totals"]

_ROWS: Final = MOST_KINDS + 1
"""The most rows of a queue: its kinds, and OTHER."""


def declare_kinds(tx: Transaction, queue: QueueRow, names: Sequence[str]) -> None:
    """Count ended jobs of these kinds by name from now on, as far as the queue may have more names."""
    if not names:
        return
    missing = tx.one("totals_missing", (queue.number, json_of(list(dict.fromkeys((OTHER, *names))))))
    if missing != "[]":
        tx.run("totals_declare", (queue.number, missing, _ROWS))


def end_of(tx: Transaction, queue: QueueRow, seq: int, outcome: Outcome) -> None:
    """Count a job that ends in this transaction."""
    tx.end(queue.number, tx.one("kind_of", (seq,)), outcome)


def move_totals(tx: Transaction, queue: int, to: int) -> None:
    """Add the totals of a queue to those of another one, and delete them: its jobs are of the other one now."""
    for kind, *counts in tx.rows("totals_of", (queue,)):
        for outcome, count in zip(OUTCOMES, counts, strict=True):
            tx.end(to, kind, outcome, max(0, count))
    tx.run("totals_delete", (queue,))


def totals(db: apsw.Connection, queues: Sequence[str]) -> dict[tuple[str, str, Outcome], int]:
    """Return the number of ended jobs by queue, kind and outcome."""
    wanted = set(queues)
    return {
        (queue, kind.decode(errors="replace"), outcome): max(0, count)
        for queue, kind, *counts in db.execute(statements()["totals"])
        if not wanted or queue in wanted
        for outcome, count in zip(OUTCOMES, counts, strict=True)
    }
