"""A report on some hours: what ended, failures in groups, the slowest kinds, cost, queues, guards and operators."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from outlast.admin.costs import PricedCost, priced
from outlast.admin.guards import GuardStatus
from outlast.admin.overview import overview
from outlast.core.history import SORTS, STEPS, Cost, Entry, QueueSample, day_of
from outlast.core.prices import Prices
from outlast.core.store.broker import QueueStats
from outlast.core.store.records import JobRecord, Query
from outlast.core.store.store import Store
from outlast.core.store.totals import of_queues
from outlast.core.text import short

__all__ = ["FailureGroup", "QueueReport", "Report", "ended_within", "groups_of", "report", "shape_of"]

MOST_READ: Final = 5_000
"""The most dead letters that are read, the last accepted first."""
MOST_ENTRIES_READ: Final = 500
_PAGE: Final = 500
_WORDS: Final = 70
"""The most characters of a failure's shape."""

# What differs between failures of one cause: ids, addresses, numbers, quoted values.
_VARYING: Final = re.compile(
    r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b[0-9a-fA-F]{16,}\b|\d+(?:[.:,]\d+)*"
)


class FailureGroup(Struct, frozen=True, kw_only=True):
    """Dead letters of one kind that failed alike. last: wall time of the last one. such_as: the id of one."""

    kind: str
    what: str
    count: int
    last: float
    such_as: str


class QueueReport(Struct, frozen=True, kw_only=True):
    """One queue: now, and its extremes within the time of the report. *_at: wall time of the extreme, 0 for none."""

    name: str
    now: QueueStats
    most_depth: int = 0
    most_depth_at: float = 0.0
    oldest: float = 0.0
    oldest_at: float = 0.0


class Report(Struct, frozen=True, kw_only=True):
    """Some hours of a store. since, until: wall times.

    ended: jobs by outcome, where the samples count them, from `ended_since` on: samples are kept for a day, and begin
    with the first worker. failures: the largest group first; complete: all dead letters were read. kinds: what runs of
    each kind have used since the begin of the day (UTC) of `since`, the slowest first. costs: the same, the dearest
    first. entries: of the journal, the newest first.
    """

    since: float
    until: float
    ended: dict[str, int] = {}
    ended_since: float = 0.0
    failures: tuple[FailureGroup, ...] = ()
    complete: bool = True
    kinds: tuple[Cost, ...] = ()
    costs: tuple[PricedCost, ...] = ()
    queues: tuple[QueueReport, ...] = ()
    guards: tuple[GuardStatus, ...] = ()
    entries: tuple[Entry, ...] = ()


async def report(store: Store, *, since: float, until: float, prices: Prices, declared: Sequence[str] = ()) -> Report:
    """Read the report of the time from `since` to `until`, which is now. Raise StoreError, ConfigurationError.

    declared: as of `overview`.
    """
    seen = await overview(store, declared=declared, entries=0)
    records, complete = await _dead(store)
    samples, costs, entries = seen.samples, [], []
    if store.keeps_history():
        if until - since > STEPS[0].kept:
            samples = await store.history.samples(STEPS[1])
        costs = await store.history.costs(day_of(until) - day_of(since) + 1)
        entries = [each for sort in SORTS for each in await store.history.journal(sort, MOST_ENTRIES_READ)]
    within = {queue: [each for each in some if each.at > since] for queue, some in samples.items()}
    counted = {queue: _counted(some, seen.samples.get(queue, ()), since) for queue, some in samples.items()}
    now = of_queues(await store.totals.totals()) if store.keeps_totals() else {}
    for queue, ended in now.items():
        if counted.get(queue):  # the newest sample may be minutes old
            counted[queue].append(QueueSample(at=until, ended=ended))
    by_kind = priced(costs, prices, ["kind"])
    return Report(
        since=since,
        until=until,
        ended=ended_within(counted.values()),
        ended_since=max(since, min((some[0].at for some in counted.values() if some), default=0.0)),
        failures=groups_of(each for each in records if (each.finished_at or 0.0) > since),
        complete=complete,
        kinds=tuple(sorted((each.cost for each in by_kind if each.cost.runs), key=lambda each: -each.wall / each.runs)),
        costs=tuple(by_kind),
        queues=tuple(_of_queue(name, found, within.get(name, ())) for name, found in sorted(seen.queues.items())),
        guards=seen.guards,
        entries=tuple(sorted((each for each in entries if each.at > since), key=lambda each: -each.at)),
    )


def ended_within(samples: Iterable[Sequence[QueueSample]]) -> dict[str, int]:
    """Return how many jobs have ended between the first and the last sample of each queue, by outcome.

    Counts that fell are those of a store that lost its data or was restored: they are counted from 0 again.
    """
    ended: dict[str, int] = {}
    for some in samples:
        for before, after in pairwise(some):
            for outcome, number in after.ended.items():
                had = before.ended.get(outcome, 0)
                ended[outcome] = ended.get(outcome, 0) + (number - had if number >= had else number)
    return {outcome: number for outcome, number in ended.items() if number}


def groups_of(records: Iterable[JobRecord]) -> tuple[FailureGroup, ...]:
    """Return dead letters in groups that failed alike, the largest first."""
    groups: dict[tuple[str, str], list[JobRecord]] = {}
    for each in records:
        groups.setdefault((each.kind, shape_of(each)), []).append(each)
    found = []
    for (kind, what), some in groups.items():
        last = max(some, key=lambda each: each.finished_at or 0.0)
        found.append(FailureGroup(kind=kind, what=what, count=len(some), last=last.finished_at or 0.0, such_as=last.id))
    return tuple(sorted(found, key=lambda each: (-each.count, -each.last)))


def shape_of(record: JobRecord) -> str:
    """Return what jobs that failed alike have in common: the last error with # for each number and id in it."""
    if not record.failures:
        return record.reason or "dead"
    failure = record.failures[-1]
    text = _VARYING.sub("#", short(failure.message, 10 * _WORDS))
    return short(f"{failure.type}: {text}" if text else failure.type, _WORDS)


def _counted(samples: Sequence[QueueSample], fine: Sequence[QueueSample], since: float) -> list[QueueSample]:
    """Return the samples that count ended jobs: those after `since`, and the one that was the newest at that time.

    fine: those of the shortest step. Where both are, they tell the time of a sample better: that of a slow step may be
    taken at the end of its slot.
    """
    coarse = [each for each in samples if not fine or each.at + STEPS[1].seconds <= fine[0].at]
    found = [each for each in (*coarse, *fine) if each.ended]
    before = [each for each in found if each.at <= since]
    return [*before[-1:], *found[len(before) :]]


async def _dead(store: Store) -> tuple[list[JobRecord], bool]:
    """Return the dead letters, at most MOST_READ, and whether these are all."""
    if not store.keeps_records():
        return [], True
    found: list[JobRecord] = []
    cursor: str | None = None
    while len(found) < MOST_READ:
        page = await store.records.find(Query(states=("dead",), limit=_PAGE, cursor=cursor))
        found += page.records
        cursor = page.cursor
        if cursor is None:
            return found, True
    return found[:MOST_READ], False


def _of_queue(name: str, now: QueueStats, samples: Sequence[QueueSample]) -> QueueReport:
    deep = max(samples, key=lambda each: each.depth, default=QueueSample())
    late = max(samples, key=lambda each: each.oldest, default=QueueSample())
    return QueueReport(
        name=name,
        now=now,
        most_depth=deep.depth,
        most_depth_at=deep.at,
        oldest=late.oldest,
        oldest_at=late.at,
    )
