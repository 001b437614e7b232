"""Finds the follow-ups that a settlement did not store, because another job has their id or their unique key."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from outlast.core.ids import GENERATED
from outlast.core.message import Message
from outlast.core.settlement import Finish, Reschedule, Settlement
from outlast.core.store.records import JobRecord
from outlast.core.store.store import Store

__all__ = ["NONE", "Absent", "absent_ones", "in_question"]

Absent = Mapping[str, JobRecord | None]
"""By the id of a follow-up that was not stored, the record that its id leads to; None when there is none any more."""
NONE: Final[Absent] = {}

_logger = logging.getLogger("outlast.worker")


def in_question(settlements: Iterable[Settlement]) -> list[Message]:
    """Return the follow-ups that another job may have kept out: those with a unique key or an id of the handler's."""
    return [
        then
        for settlement in settlements
        if isinstance(settlement, Finish | Reschedule) and settlement.then
        for then in settlement.then
        if then.unique is not None or len(then.id) - len(then.queue) - 1 != GENERATED
    ]


async def absent_ones(store: Store, messages: Sequence[Message]) -> Absent:
    """Return those of the follow-ups that are not stored; all of them if the store cannot be read now."""
    try:
        records = await store.records.get([message.id for message in messages])
    except Exception as error:  # they are settled: only their events are missing
        _logger.debug("follow-ups cannot be looked up: %s", error)
        return {message.id: None for message in messages}
    return {
        message.id: record
        for message, record in zip(messages, records, strict=True)
        if record is None
        or (record.id, record.kind, record.enqueued_at) != (message.id, message.kind, message.enqueued_at)
    }
