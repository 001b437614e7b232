"""Changes all jobs that a query finds, in small steps, at a rate, until stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from outlast.core.store.control import Answer, Command, Control
from outlast.core.store.records import JobRecord, Query, Records

if TYPE_CHECKING:
    from outlast.core.limits import Rate

__all__ = ["BATCH", "BulkOutcome", "BulkSelection", "change", "matching", "select"]

BATCH: Final = 250
"""Jobs of one step: it delays other writers only for milliseconds."""
_PAGE: Final = 1000
_STEPS: Final = 4
"""Steps per second at a rate."""


class BulkSelection(Struct):
    """The jobs that a query found; later matches are not changed. groups: counts by queue, kind and state."""

    ids: list[str] = []
    groups: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)


class BulkOutcome(Struct):
    """The result of a change. asked: jobs whose command was applied; refused: ids with their answers."""

    changed: int = 0
    asked: int = 0
    refused: list[tuple[str, Answer]] = []


async def select(records: Records, query: Query) -> BulkSelection:
    """Return all jobs that match, regardless of the query's limit."""
    found = BulkSelection()
    async for record in matching(records, query):
        found.ids.append(record.id)
        found.groups[record.queue, record.kind, record.state] += 1
    return found


async def matching(records: Records, query: Query) -> AsyncIterator[JobRecord]:
    """Yield all records that match, regardless of the query's limit, reading page by page."""
    query = msgspec.structs.replace(query, limit=_PAGE)
    while True:
        page = await records.find(query)
        for record in page.records:
            yield record
        if page.cursor is None:
            return
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
    """Apply a command to each job until `stop`, checked between steps. progress: called with the jobs asked so far."""
    outcome = BulkOutcome()
    loop = asyncio.get_running_loop()
    per_second = None if rate is None else rate.count / rate.per
    size = BATCH if per_second is None else max(1, min(BATCH, int(per_second / _STEPS)))
    started = loop.time()
    while outcome.asked < len(ids) and not stop.is_set():
        batch = ids[outcome.asked : outcome.asked + size]
        answers = await control.apply([command(each) for each in batch])
        refused = [(id_, answer) for id_, answer in zip(batch, answers, strict=True) if not answer.ok]
        outcome.changed += len(batch) - len(refused)
        outcome.refused += refused
        outcome.asked += len(batch)
        progress(outcome.asked)
        if per_second is not None and outcome.asked < len(ids):
            await _pause(stop, started + outcome.asked / per_second - loop.time())
    return outcome


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    except TimeoutError:
        pass
