"""The unfinished and ready jobs that core.admission reads from the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from outlast.core.admission import LINES, WINDOW, Used, Waiter, urgency
from outlast.core.select import Ticket

if TYPE_CHECKING:
    from outlast.brokers.memory.rows import JobRow, QueueData
    from outlast.brokers.memory.tables import Tables

__all__ = ["MemoryWaitingJobs"]


class MemoryWaitingJobs:
    """The jobs of one queue as a new job with `key` finds them, without the job that it replaces."""

    __slots__ = ("_data", "_key", "_replaced", "_tables")

    def __init__(self, tables: Tables, data: QueueData, key: str | None, replaced: JobRow | None) -> None:
        self._tables = tables
        self._data = data
        self._key = key
        self._replaced = replaced

    def used(self) -> Used:
        """Count the unfinished jobs of the queue."""
        replaced = self._replaced
        if replaced is None:
            return Used(self._data.depth, self._data.bytes)
        return Used(self._data.depth - 1, self._data.bytes - replaced.size)

    def used_by_key(self) -> Used:
        """Count the unfinished jobs of the new job's key."""
        depth, size = self._data.by_key.get(self._key or "", (0, 0))
        replaced = self._replaced
        if replaced is None or replaced.message.key != self._key:
            return Used(depth, size)
        return Used(depth - 1, size - replaced.size)

    def own(self, most: int) -> Sequence[Waiter]:
        """Return the first ready jobs of the new job's key, after making due jobs ready."""
        self._tables.promote(self._data)
        return self._waiters(self._ready(self._key), most)

    def other(self) -> Sequence[Waiter]:
        """Return the first ready jobs of the examined other key that has the most."""
        states = self._data.keys.values()
        held_back = sorted((each.wake, each.turn, each.key) for each in states if each.parked)
        ring: list[tuple[int, str | None]] = [(each.turn, each.key) for each in states if each.where == "ring"]
        if self._data.ready:
            ring.append((self._data.turn, None))
        best: list[Ticket] = []
        examined = [*(key for *_, key in held_back[:LINES]), *(key for _, key in sorted(ring)[:LINES])]
        for key in examined:
            ready = self._ready(key)
            if key != self._key and min(len(ready), WINDOW) > min(len(best), WINDOW):
                best = ready
        return self._waiters(best, WINDOW)

    def _ready(self, key: str | None) -> list[Ticket]:
        if key is None:
            return self._data.ready
        state = self._data.keys.get(key)
        return [] if state is None else state.ready

    def _waiters(self, ready: Sequence[Ticket], most: int) -> list[Waiter]:
        jobs = [self._tables.jobs[ticket.id] for ticket in ready[: most + 1]]
        return [_waiter(job) for job in jobs if job is not self._replaced][:most]


def _waiter(job: JobRow) -> Waiter:
    return Waiter(job.message.id, urgency(job.message.priority), job.at, job.size)
