"""Says which ended jobs of a queue the memory store keeps no longer."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from outlast.brokers.memory.rows import JobRow, QueueData

__all__ = ["over"]


def over(jobs: Mapping[str, JobRow], data: QueueData, now: float) -> Iterator[JobRow]:
    """Yield the jobs whose retention is over at `now`; remove each before the next is asked for. jobs: all, by id."""
    kept = data.queue.retention
    while data.ended:
        job = next(iter(data.ended.values()))
        if len(data.ended) <= kept.records and _finished(job) + kept.record_ttl > now:
            break
        yield job
    while data.dead and _finished(next(iter(data.dead.values()))) + kept.dead_ttl <= now:
        yield next(iter(data.dead.values()))
    while data.results and (data.results[0][0] <= now or data.results_kept > kept.results_kept):
        _, order, id_ = heapq.heappop(data.results)
        known = jobs.get(id_)
        if known is not None and known.order == order:
            yield known


def _finished(job: JobRow) -> float:
    return job.finished_at or 0.0
