"""Changing many jobs: those that a query finds, in small steps, at a rate, until it is stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from outlast.core.store.control import Answer, Command, Control
from outlast.core.store.records import Query, Records

if TYPE_CHECKING:
    from outlast.core.limits import Rate

__all__ = ["BATCH", "BulkOutcome", "BulkSelection", "change", "select"]

BATCH: Final = 250
"""Jobs that one step changes: it holds up other writers only for milliseconds."""
_PAGE: Final = 1000
_STEPS: Final = 4
"""Steps a second at a rate."""


class BulkSelection(Struct):
    """The jobs that a query found; they alone are changed, whatever matches later. groups: by queue, kind, state."""

    ids: list[str] = []
    groups: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)


class BulkOutcome(Struct):
    """How far a change came. asked: jobs whose command was applied; refused: their ids, with the answer."""

    changed: int = 0
    asked: int = 0
    refused: list[tuple[str, Answer]] = []


async def select(records: Records, query: Query) -> BulkSelection:
    """Return all jobs that match; the query's own limit is not looked at."""
    found = BulkSelection()
    query = msgspec.structs.replace(query, limit=_PAGE)
    while True:
        page = await records.find(query)
        found.ids += [record.id for record in page.records]
        found.groups.update((record.queue, record.kind, record.state) for record in page.records)
        if page.cursor is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.cursor)


async def change(
    control: Control,
    ids: Sequence[str],
    command: Callable[[str], Command],
    *,
    rate: Rate | None = None,
    stop: asyncio.Event,
    progress: Callable[[int], None],
) -> BulkOutcome:
    """Apply a command to each job; `stop` ends it between two steps. progress: called with the jobs asked so far."""
    outcome = BulkOutcome()
    loop = asyncio.get_running_loop()
    per_second = None if rate is None else rate.count / rate.per
    size = BATCH if per_second is None else max(1, min(BATCH, int(per_second / _STEPS)))
    begun = loop.time()
    while outcome.asked < len(ids) and not stop.is_set():
        batch = ids[outcome.asked : outcome.asked + size]
        answers = await control.apply([command(each) for each in batch])
        refused = [(id_, answer) for id_, answer in zip(batch, answers, strict=True) if not answer.ok]
        outcome.changed += len(batch) - len(refused)
        outcome.refused += refused
        outcome.asked += len(batch)
        progress(outcome.asked)
        if per_second is not None and outcome.asked < len(ids):
            await _pause(stop, begun + outcome.asked / per_second - loop.time())
    return outcome


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    except TimeoutError:
        pass
