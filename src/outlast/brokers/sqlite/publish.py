"""Publishes messages: a batch by one statement, and one by one only where an answer depends on the ones before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from outlast.brokers.sqlite import bounds, key_states
from outlast.brokers.sqlite.job_rows import KeyRows
from outlast.brokers.sqlite.publish_batch import publish_batch
from outlast.brokers.sqlite.publish_single import publish_singly
from outlast.brokers.sqlite.retention import keep_within
from outlast.brokers.sqlite.succession import promote_successors
from outlast.brokers.sqlite.transaction import QueueRow, Transaction, json_of
from outlast.core.exchanges.copies import refused_size
from outlast.core.message import Message
from outlast.core.settlement import Published

__all__ = ["publish"]

_ids: Final = msgspec.json.Decoder(set[str]).decode


def publish(
    tx: Transaction, messages: Sequence[Message], *, forced: bool = False, replacing: bool = True
) -> list[Published]:
    """Write `messages` and return an answer for each.

    forced: bounds do not apply, as for follow-ups. replacing: a message may replace or follow the holder of its key.
    """
    queues = {message.queue: tx.queue(message.queue) for message in messages}
    large = [refused_size(message, tx.max_body) for message in messages]
    fitting = [message for message, answer in zip(messages, large, strict=True) if answer is None]
    tx.changes.add("work")
    unique = [message for message in fitting if message.unique is not None]
    if unique:
        known = _ids(tx.one("ids_known", (json_of([message.id for message in unique]),)))
        _release_expired(tx, [message for message in unique if message.id not in known], queues)
    key_rows = _key_rows(tx, fitting, queues)
    replaces = replacing and any(message.unique is not None and message.unique.replace for message in unique)
    if replaces or (not forced and (_wait_counts(tx, fitting) or _near_bound(tx, queues, fitting, key_rows))):
        answers = publish_singly(tx, fitting, queues, key_rows, bounded=not forced, replacing=replacing)
    else:
        answers = publish_batch(tx, fitting, queues, key_rows, replacing=replacing)
    if len(answers) == len(messages):
        return answers
    rest = iter(answers)
    return [next(rest) if answer is None else answer for answer in large]


def _release_expired(tx: Transaction, unique: Sequence[Message], queues: Mapping[str, QueueRow]) -> None:
    """Release those of the messages' unique keys whose time is over, or whose job is too late to start.

    A successor that waits for one takes it.
    """
    names = {message.queue for message in unique}
    # Each key once: a job that is dropped twice would be counted twice.
    keys = list(
        dict.fromkeys((queues[each.queue].number, each.unique.key) for each in unique if each.unique is not None)
    )
    for seq, name, lapsed in tx.rows("uniq_over", (json_of(keys), None, tx.now)):
        if lapsed:
            tx.run("uniq_free", (seq,))
        else:
            bounds.drop(tx, queues[name], seq, "expired")
            keep_within(tx, tx.queue(name))
    promote_successors(tx, [queues[name] for name in names])
    for name in names:
        if not queues[name].uniques:
            tx.run("queue_uniques", (queues[name].number,))
            tx.refresh(name)  # a claim of this transaction frees keys at the start of jobs


def _key_rows(tx: Transaction, messages: Sequence[Message], queues: Mapping[str, QueueRow]) -> KeyRows:
    """Return the rows of the messages' keys, created where they are new."""
    keys = list(dict.fromkeys([(each.queue, each.key) for each in messages if each.key is not None]))
    if not keys:
        return {}
    for name in {queue for queue, _ in keys}:
        ring = tx.ring(queues[name])
        if not ring.back:
            ring.back, ring.changed = 1, True
    return key_states.find(tx, [(queues[queue].number, key) for queue, key in keys])


def _wait_counts(tx: Transaction, messages: Sequence[Message]) -> bool:
    return any(message.max_wait is not None and message.run_at <= tx.now for message in messages)


def _near_bound(
    tx: Transaction, queues: Mapping[str, QueueRow], messages: Sequence[Message], key_rows: KeyRows
) -> bool:
    return any(
        row.limits is not None
        and bounds.may_not_fit(tx, row, [message for message in messages if message.queue == name], key_rows)
        for name, row in queues.items()
    )
