"""What live workers can do for a queue, and how much it has to do: the input of core.forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from outlast.brokers.memory.rows import HolderRow, QueueData
from outlast.core.clock import Clock
from outlast.core.forecast import Backlog, Offer, Pace, Sample, measured, with_sample

__all__ = ["backlog_of", "ends_of", "offers_for", "pace_of", "take_loads"]


class Workplace(Protocol):
    """The part of the tables that is read here."""

    clock: Clock
    holders: dict[str, HolderRow]
    queues: dict[str, QueueData]


def take_loads(tables: Workplace, row: HolderRow, loads: Mapping[str, Offer], queues: Iterable[str]) -> None:
    """Keep what a holder can do, and a sample of each of these queues."""
    row.loads = loads
    for name in queues:
        data = tables.queues.get(name)
        if data is not None:
            slots = sum(each.slots for each in offers_for(tables, name))
            data.samples = with_sample(data.samples, _sample(tables, data, slots))


def offers_for(tables: Workplace, queue: str) -> Sequence[Offer]:
    """Return what each live holder that claims from the queue can do for it."""
    now = tables.clock.monotonic()
    return [
        row.loads[queue]
        for row in tables.holders.values()
        if row.loads is not None and row.until > now and queue in row.queues and queue in row.loads
    ]


def backlog_of(tables: Workplace, data: QueueData, ready: int, running: int) -> Backlog:
    """Return what a queue has to do."""
    return Backlog(_sample(tables, data, 0), ready, running, data.queue.concurrency, data.queue.rate)


def pace_of(tables: Workplace, name: str, data: QueueData) -> Pace:
    """Return how fast a queue moves."""
    return measured(offers_for(tables, name), data.samples, backlog_of(tables, data, 0, 0))


def ends_of(tables: Workplace, name: str, data: QueueData) -> float:
    """Return the jobs of a queue that end in a second: of late, if no more is known."""
    ends = pace_of(tables, name, data).ends
    return data.rate.per_second(tables.clock.monotonic()) if ends is None else ends


def _sample(tables: Workplace, data: QueueData, slots: int) -> Sample:
    now = tables.clock.monotonic()
    return Sample(now, data.depth, data.rate.counted(now), slots)
