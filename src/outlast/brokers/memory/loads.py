"""What live workers can do for a queue, and how much it has to do: the input of core.forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from outlast.brokers.memory.rows import HolderRow, JobRow, QueueData
from outlast.core.admission import ahead_of_key, too_late
from outlast.core.clock import Clock
from outlast.core.forecast import Backlog, Offer, Pace, Sample, measured, with_sample
from outlast.core.message import Message
from outlast.core.settlement import Full

__all__ = ["backlog_of", "ends_of", "offers_for", "pace_of", "take_loads", "wait_refusal"]


class Workplace(Protocol):
    """The part of the tables that is read here."""

    clock: Clock
    holders: dict[str, HolderRow]
    jobs: dict[str, JobRow]
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
    """Return the jobs of a queue that end in a second: of late, if no more is known; 0 if no worker takes its jobs."""
    ends, now = pace_of(tables, name, data).ends, tables.clock.monotonic()
    if ends is not None:
        return ends
    claimers = [row for row in tables.holders.values() if row.until > now and name in row.queues]
    served = any(row.loads is None or (name in row.loads and row.loads[name].slots) for row in claimers)
    return data.rate.per_second(now) if served else 0.0


def wait_refusal(tables: Workplace, data: QueueData, message: Message) -> Full | None:
    """Return the refusal of a message that would not begin within its `max_wait`, None if it may."""
    assert message.max_wait is not None
    if data.paused:
        return None
    now = tables.clock.time()
    jobs = [job for job in tables.jobs.values() if job.message.queue == message.queue]
    running = sum(job.state == "running" for job in jobs)
    waiting = [job for job in jobs if job.state in ("ready", "scheduled", "parked") and job.at <= now]
    ready = len(waiting)
    if message.key is not None:
        own = sum(job.message.key == message.key for job in waiting)
        lines = len({job.message.key for job in waiting if job.message.key != message.key}) + 1
        ready = ahead_of_key(ready, own, lines)
    return too_late(pace_of(tables, message.queue, data), ready, running, message.max_wait)


def _sample(tables: Workplace, data: QueueData, slots: int) -> Sample:
    now = tables.clock.monotonic()
    return Sample(now, data.depth, data.rate.counted(now), slots)
