"""Runs what was asked of the writer meanwhile in one transaction: publishes merged into one, claims last."""

from __future__ import annotations

from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.transaction import Transaction
from outlast.clients.sqlite.writer import WriteOperation, WriteResult

__all__ = ["apply_batch"]


def apply_batch(tx: Transaction, batch: list[WriteOperation[Transaction]]) -> list[WriteResult[Transaction]]:
    """Run the operations and store what they counted; return a result for each."""
    publishing = [operation for operation in batch if operation.merge is not None]
    results: list[WriteResult[Transaction]] = []
    if len(publishing) > 1:
        everything = [message for operation in publishing for message in operation.merge or ()]
        answers = publish(tx, everything)
        at = 0
        for operation in publishing:
            size = len(operation.merge or ())
            results.append((operation, answers[at : at + size], None))
            at += size
        batch = [operation for operation in batch if operation.merge is None]
    # Claims last: what the others give back or add may be handed out at once.
    batch = sorted(batch, key=lambda operation: operation.peek is not None)
    results += [(operation, operation.run(tx), None) for operation in batch]
    tx.write_counts()
    return results
