"""What live workers can do for a queue, and how much it has to do: the input of core.forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from outlast.brokers.memory.rows import HolderRow, QueueData
from outlast.brokers.memory.tables import Tables
from outlast.core.forecast import Backlog, Offer, Sample, with_sample

__all__ = ["backlog_of", "offers_for", "take_loads"]


def take_loads(tables: Tables, row: HolderRow, loads: Mapping[str, Offer], queues: Iterable[str]) -> None:
    """Keep what a holder can do, and a sample of each of these queues."""
    row.loads = loads
    for name in queues:
        data = tables.queues.get(name)
        if data is not None:
            slots = sum(each.slots for each in offers_for(tables, name))
            data.samples = with_sample(data.samples, _sample(tables, data, slots))


def offers_for(tables: Tables, queue: str) -> Sequence[Offer]:
    """Return what each live holder that claims from the queue can do for it."""
    now = tables.clock.monotonic()
    return [
        row.loads[queue]
        for row in tables.holders.values()
        if row.loads is not None and row.until > now and queue in row.queues and queue in row.loads
    ]


def backlog_of(tables: Tables, data: QueueData, ready: int, running: int) -> Backlog:
    """Return what a queue has to do."""
    return Backlog(_sample(tables, data, 0), ready, running, data.queue.concurrency, data.queue.rate)


def _sample(tables: Tables, data: QueueData, slots: int) -> Sample:
    now = tables.clock.monotonic()
    return Sample(now, data.depth, data.rate.counted(now), slots)
