"""Finds the follow-ups that a settlement did not store, because another job has their id or their unique key."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from outlast.core.ids import GENERATED
from outlast.core.message import Message
from outlast.core.settlement import Finish, Reschedule, Settlement
from outlast.core.store.records import JobRecord
from outlast.core.store.store import Store

__all__ = ["NONE", "Absent", "InQuestion", "absent_ones", "in_doubt", "in_question"]

Absent = Mapping[str, JobRecord | None]
"""By the id of a follow-up that was not stored, the record that its id leads to; None when there is none any more."""
_MAY_HAVE: Final = (Finish, Reschedule)
"""Settlements that may have follow-ups. Looked at for each job: a union that is made each time takes longer."""
NONE: Final[Absent] = {}

_logger = logging.getLogger("outlast.worker")


class InQuestion(NamedTuple):
    """A follow-up, and the queue of the job that enqueued it."""

    message: Message
    source: str


def in_question(settlements: Iterable[Settlement]) -> list[InQuestion]:
    """Return the follow-ups that another job may have kept out: those with a unique key or an id of the handler's."""
    return [
        InQuestion(then, settlement.fence.queue)
        for settlement in settlements
        if isinstance(settlement, _MAY_HAVE) and settlement.then
        for then in settlement.then
        if then.unique is not None or len(then.id) - len(then.queue) - 1 != GENERATED
    ]


async def absent_ones(store: Store, follow_ups: Sequence[InQuestion]) -> Absent:
    """Return those of the follow-ups that are not stored; `in_doubt` if the store cannot be read now."""
    try:
        records = await store.records.get([message.id for message, _ in follow_ups])
    except Exception as error:  # they are settled: only their events are missing
        _logger.debug("follow-ups cannot be looked up: %s", error)
        return in_doubt(store, follow_ups)
    return {
        each.message.id: record
        for each, record in zip(follow_ups, records, strict=True)
        if not _is_stored(each.message, record) and not (record is None and _may_come_later(store, each))
    }


def in_doubt(store: Store, follow_ups: Sequence[InQuestion]) -> Absent:
    """Return the follow-ups of which only a read of the store tells whether they are stored."""
    return {each.message.id: None for each in follow_ups if not _may_come_later(store, each)}


def _is_stored(message: Message, record: JobRecord | None) -> bool:
    return record is not None and (record.id, record.kind, record.enqueued_at) == (
        message.id,
        message.kind,
        message.enqueued_at,
    )


def _may_come_later(store: Store, each: InQuestion) -> bool:
    """Tell whether the store keeps the follow-up with the settlement until the server of its queue answers."""
    return store.broker.capabilities.spread and each.message.queue != each.source
