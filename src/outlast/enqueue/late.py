"""Publishes messages that waited in a spool: of a unique key, a job that was enqueued after them stays."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from outlast.core.message import Message
from outlast.core.settlement import Exists, Published
from outlast.core.store.store import Store

__all__ = ["publish_late"]


async def publish_late(store: Store, messages: Sequence[Message]) -> list[Published]:
    """Publish the messages; return the answers in order. Repeating the same messages is safe.

    A message that replaces yields to a job with its unique key that was enqueued later, by `enqueued_at`: the answer is
    Exists. Where the hosts' clocks differ, so does what is later.
    """
    # First without `replace`, which matters only in a publish: then the answer names the job to compare with.
    answers = await store.broker.publish([_yielding(each) for each in messages])
    met = {
        index: answer.id
        for index, (message, answer) in enumerate(zip(messages, answers, strict=True))
        if _replaces(message) and isinstance(answer, Exists) and answer.by == "unique"
    }
    if met:
        found = dict(zip(met, await store.records.get(list(met.values())), strict=True))
        newest = [
            index
            for index, record in found.items()
            if record is None or record.enqueued_at <= messages[index].enqueued_at
        ]
        again = await store.broker.publish([messages[index] for index in newest])
        for index, answer in zip(newest, again, strict=True):
            answers[index] = answer
    return answers


def _replaces(message: Message) -> bool:
    return message.unique is not None and message.unique.replace


def _yielding(message: Message) -> Message:
    if message.unique is None or not message.unique.replace:
        return message
    return structs.replace(message, unique=structs.replace(message.unique, replace=False))
