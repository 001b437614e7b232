"""The protocol that keeps what people look at later: samples of queues, the journal, and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from outlast.core.history import Cost, Entry, QueueSample, Sort, Step

__all__ = ["History"]


class History(Protocol):
    """Keep samples, a journal and costs, each within the bounds of `core.history`. Times are those of the store."""

    async def keep_samples(self, samples: Mapping[str, QueueSample]) -> int:
        """Keep a sample of each queue in the present slot of each step, unless there is one; return how many were kept.

        The first sample of a slot stays, whichever process it comes from. What is older than its step is kept is
        removed, and so is what lies in a later slot: the clock was wrong then, and no slot may wait for that time.
        """
        ...

    async def samples(self, step: Step, queues: Sequence[str] = ()) -> dict[str, list[QueueSample]]:
        """Return the samples of these queues, of all when empty, in the order of their time. A read writes nothing.

        A queue without a sample is left out. A sample that cannot be read is left out.
        """
        ...

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries to the journal; the oldest beyond MOST_ENTRIES of their sort are removed."""
        ...

    async def journal(self, sort: Sort, limit: int) -> list[Entry]:
        """Return the newest entries of a sort, the newest first. One that cannot be read is left out."""
        ...

    async def add_costs(self, source: str, number: int, costs: Sequence[Cost]) -> bool:
        """Add costs to those of today, in one step; return False, with nothing changed, for a repetition.

        source: one process, and never another one. number: of the call of this source, higher each time: a call whose
        number is not above the last one of its source, of today or yesterday, is a repetition. A kind and tenant that
        has no row yet is added to the tenant `other` of its kind when the day has MOST_COSTS rows. Days older than
        COST_DAYS are removed.
        """
        ...

    async def costs(self, days: int) -> list[Cost]:
        """Return the rows of the last `days` days, today included, by day, kind and tenant."""
        ...
