"""What core.admission asks of the memory store about those whom a newcomer would stand among."""

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
    """One queue's lines as a newcomer with `key` finds them, without the job that it replaces."""

    __slots__ = ("_key", "_line", "_tables", "_without")

    def __init__(self, tables: Tables, line: QueueData, key: str | None, without: JobRow | None) -> None:
        self._tables = tables
        self._line = line
        self._key = key
        self._without = without

    def used(self) -> Used:
        """Return what the queue holds."""
        gone = self._without
        if gone is None:
            return Used(self._line.depth, self._line.bytes)
        return Used(self._line.depth - 1, self._line.bytes - gone.size)

    def used_by_key(self) -> Used:
        """Return what the newcomer's key holds in the queue."""
        depth, size = self._line.by_key.get(self._key or "", (0, 0))
        gone = self._without
        if gone is None or gone.message.key != self._key:
            return Used(depth, size)
        return Used(depth - 1, size - gone.size)

    def own(self, most: int) -> Sequence[Waiter]:
        """Return the front of the newcomer's line, after what is due by now has joined it."""
        self._tables.promote(self._line)
        return self._waiters(self._ready(self._key), most)

    def other(self) -> Sequence[Waiter]:
        """Return the front of the longest of the other lines that are looked at."""
        lanes = self._line.keys.values()
        held_back = sorted((lane.wake, lane.turn, lane.key) for lane in lanes if lane.where in ("slot", "rate"))
        ring: list[tuple[int, str | None]] = [(lane.turn, lane.key) for lane in lanes if lane.where == "ring"]
        if self._line.ready:
            ring.append((self._line.turn, None))
        best: list[Ticket] = []
        front = [*(key for *_, key in held_back[:LINES]), *(key for _, key in sorted(ring)[:LINES])]
        for key in front:
            ready = self._ready(key)
            if key != self._key and min(len(ready), WINDOW) > min(len(best), WINDOW):
                best = ready
        return self._waiters(best, WINDOW)

    def _ready(self, key: str | None) -> list[Ticket]:
        if key is None:
            return self._line.ready
        lane = self._line.keys.get(key)
        return [] if lane is None else lane.ready

    def _waiters(self, ready: Sequence[Ticket], most: int) -> list[Waiter]:
        jobs = [self._tables.jobs[place.id] for place in ready[: most + 1]]
        return [_waiter(job) for job in jobs if job is not self._without][:most]


def _waiter(job: JobRow) -> Waiter:
    return Waiter(job.message.id, urgency(job.message.priority), job.at, job.size)
