"""Runs the writer's waiting operations in one transaction: publishes merged into one, claims last."""

from __future__ import annotations

from itertools import islice

from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.transaction import Transaction
from outlast.clients.sqlite.writer import WriteOperation, WriteResult

__all__ = ["apply_batch"]


def apply_batch(tx: Transaction, batch: list[WriteOperation[Transaction]]) -> list[WriteResult[Transaction]]:
    """Run the operations and write the counters that they changed; return a result for each."""
    publishing = [each for each in batch if each.merge is not None and (each.needs is None or each.needs(tx))]
    results: list[WriteResult[Transaction]] = []
    if len(publishing) > 1:
        answers = iter(publish(tx, [message for operation in publishing for message in operation.merge or ()]))
        results = [(each, list(islice(answers, len(each.merge or ()))), None) for each in publishing]
        merged = set(publishing)
        batch = [operation for operation in batch if operation not in merged]
    # Claims last: they can hand out the jobs that the others release or add.
    batch = sorted(batch, key=lambda operation: operation.peek is not None)
    results += [(operation, operation.run(tx), None) for operation in batch]
    tx.write_counts()
    return results
