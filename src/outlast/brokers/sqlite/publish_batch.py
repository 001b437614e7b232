"""Keeps a batch of messages by one statement, where no answer depends on the ones before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from outlast.brokers.sqlite import key_states
from outlast.brokers.sqlite.job_rows import KeyRows, insert, unique_holder, weigh
from outlast.brokers.sqlite.transaction import QueueRow, Transaction
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Exists, Published

__all__ = ["publish_batch"]


def publish_batch(
    tx: Transaction, messages: Sequence[Message], queues: Mapping[str, QueueRow], key_rows: KeyRows
) -> list[Published]:
    """Keep the messages but those whose id or unique key is taken; return an answer for each."""
    inserted = insert(tx, messages, queues, key_rows)
    answers: list[Published] = [ACCEPTED] * len(messages)
    accepted = messages
    if inserted != len(messages):
        # A new row's number is one above the highest, and nothing was deleted since: these are the last ones.
        answers = _explain(tx, messages, queues, key_rows, before=tx.one("last_seq") - inserted)
        accepted = [message for message, answer in zip(messages, answers, strict=True) if answer is ACCEPTED]
    for name, jobs in Counter([message.queue for message in accepted]).items():
        tx.count(queues[name].number).depth += jobs
    if any(row.bytes is not None for row in queues.values()):
        for message in accepted:
            weigh(tx, message, queues[message.queue], key_rows)
    if key_rows:
        _join(tx, accepted, queues, key_rows)
    return answers


def _join(tx: Transaction, accepted: Sequence[Message], queues: Mapping[str, QueueRow], key_rows: KeyRows) -> None:
    """Let the keys of what was accepted, and is due, join the ring."""
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
) -> list[Published]:
    """Answer each message of an inserted batch of which some were passed over; rows above `before` are its own.

    One that a message of the same batch kept out, which was itself passed over, is inserted now.
    """
    taken: set[str] = set()
    answers: list[Published] = []
    for message in messages:
        row = tx.row("by_id", (message.id,))
        answer: Published = ACCEPTED
        if row is None:
            holder = unique_holder(tx, message, queues[message.queue])
            if holder is None:
                insert(tx, [message], queues, key_rows)
            else:
                answer = Exists(holder[0], "unique")
        elif row[0] <= before or message.id in taken:
            answer = Exists(message.id, "id")
        if answer is ACCEPTED:
            taken.add(message.id)
        answers.append(answer)
    return answers
