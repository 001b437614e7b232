"""Samples, journal and costs on a Cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from outlast.brokers.redis.queue_store import QueueStore
from outlast.core.history import Cost, Entry, QueueSample, Sort, Step

__all__ = ["ClusterHistory"]


class ClusterHistory:
    """The history on a Cluster: all of it is in the root, which belongs to no queue."""

    _root: Callable[[], Awaitable[QueueStore]]
    """Returns the root, open."""

    async def keep_samples(self, samples: Mapping[str, QueueSample]) -> int:
        """Keep the samples whose slots are empty."""
        return await (await self._root()).keep_samples(samples)

    async def samples(self, step: Step, queues: Sequence[str] = ()) -> dict[str, list[QueueSample]]:
        """Return the samples by queue."""
        return await (await self._root()).samples(step, queues)

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries to the journal."""
        await (await self._root()).add_entries(entries)

    async def journal(self, sort: Sort, limit: int) -> list[Entry]:
        """Return the newest entries of a sort."""
        return await (await self._root()).journal(sort, limit)

    async def add_costs(self, source: str, number: int, costs: Sequence[Cost]) -> bool:
        """Add costs to those of today."""
        return await (await self._root()).add_costs(source, number, costs)

    async def costs(self, days: int) -> list[Cost]:
        """Return the costs of the last days."""
        return await (await self._root()).costs(days)
