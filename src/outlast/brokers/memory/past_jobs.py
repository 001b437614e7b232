"""Remembers the ids of removed jobs for `Retention.id_memory`, so that none of them is accepted again."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

__all__ = ["PastJob", "PastJobs"]


@dataclass(slots=True, frozen=True)
class PastJob:
    """What is remembered of a removed job, by its id.

    until: wall time. settled: the token of the accepted settlement. link: the id of the job that a follow-up leads to.
    """

    until: float
    settled: int
    kind: str
    link: str = ""


class PastJobs:
    """The ids without a record that are still remembered."""

    def __init__(self) -> None:
        self._jobs: dict[str, PastJob] = {}
        self._ends: list[tuple[float, str]] = []
        """Heap of (wall time until which it is remembered, id)."""

    def add(self, id_: str, past: PastJob) -> None:
        """Remember an id."""
        self._jobs[id_] = past
        heapq.heappush(self._ends, (past.until, id_))

    def get(self, id_: str) -> PastJob | None:
        """Return what is remembered of an id, None for nothing."""
        return self._jobs.get(id_)

    def forget(self, id_: str) -> None:
        """Forget an id before its time."""
        self._jobs.pop(id_, None)

    def prune(self, now: float) -> None:
        """Forget the ids whose time is over at `now`."""
        while self._ends and self._ends[0][0] <= now:
            until, id_ = heapq.heappop(self._ends)
            if id_ in self._jobs and self._jobs[id_].until == until:
                del self._jobs[id_]
