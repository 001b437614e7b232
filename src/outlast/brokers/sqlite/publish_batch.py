"""Publishes a batch of messages by one statement, where no answer depends on the ones before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.job_rows import KeyRows, insert, unique_holder, weigh
from outlast.brokers.sqlite.publish_single import BLOCKED, publish_singly
from outlast.brokers.sqlite.transaction import QueueRow, Transaction
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Exists, Published

__all__ = ["publish_batch"]


def publish_batch(
    tx: Transaction, messages: Sequence[Message], queues: Mapping[str, QueueRow], key_rows: KeyRows, *, replacing: bool
) -> list[Published]:
    """Write the messages whose id and unique key are free; return an answer for each.

    replacing: a message may follow a holder of its unique key that will not do the work.
    """
    inserted = insert(tx, messages, queues, key_rows)
    answers: list[Published] = [ACCEPTED] * len(messages)
    accepted = messages
    if inserted != len(messages):
        # A new row's number is one above the highest, and no row was deleted since: the inserted rows are the last.
        before = tx.one("last_seq") - inserted
        answers, accepted = _explain(tx, messages, queues, key_rows, before=before, replacing=replacing)
    for name, jobs in Counter([message.queue for message in accepted]).items():
        tx.count(queues[name].number).depth += jobs
    if any(row.bytes is not None for row in queues.values()):
        for message in accepted:
            weigh(tx, message, queues[message.queue], key_rows)
    if key_rows:
        _join(tx, accepted, queues, key_rows)
    return answers


def _join(tx: Transaction, accepted: Sequence[Message], queues: Mapping[str, QueueRow], key_rows: KeyRows) -> None:
    """Add the keys of accepted messages that are due to the ring."""
    joining: dict[str, list[int]] = {}
    for message in accepted:
        if message.key is not None and message.run_at <= tx.now:
            joining.setdefault(message.queue, []).append(key_rows[queues[message.queue].number, message.key])
    for name, rows in joining.items():
        key_states.join(tx, queues[name], rows)


def _explain(
    tx: Transaction,
    messages: Sequence[Message],
    queues: Mapping[str, QueueRow],
    key_rows: KeyRows,
    *,
    before: int,
    replacing: bool,
) -> tuple[list[Published], list[Message]]:
    """Return an answer for each message of a batch that was inserted in part, as rows above `before`.

    Return also the messages that are to be counted: those that were inserted, here or by the batch. A message is
    inserted here when its unique key is free after all: another message of the batch, itself not inserted, had kept it
    out. One that follows the holder of its key counts itself.
    """
    taken: set[str] = set()
    answers: list[Published] = []
    accepted: list[Message] = []
    for message in messages:
        row = tx.row("by_id", (message.id,))
        answer: Published = ACCEPTED
        if row is None:
            holder = unique_holder(tx, message, queues[message.queue])
            if holder is None:
                insert(tx, [message], queues, key_rows)
            elif holder.state in BLOCKED:
                answers += publish_singly(tx, [message], queues, key_rows, bounded=False, replacing=replacing)
                taken.add(message.id)
                continue
            else:
                answer = Exists(holder.id, "unique", holder.kind)
        elif row[0] <= before or message.id in taken:
            answer = Exists(message.id, "id", row[10])
        if answer is ACCEPTED:
            taken.add(message.id)
            accepted.append(message)
        answers.append(answer)
    return answers, accepted
