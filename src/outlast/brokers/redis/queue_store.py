"""All operations in one keyspace: on one server the whole namespace; on a Cluster one queue, or the root."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.brokers.redis.claim import ClaimOperations
from outlast.brokers.redis.control import ControlOperations
from outlast.brokers.redis.delivery import DeliveryOperations
from outlast.brokers.redis.exchanges import ExchangeOperations
from outlast.brokers.redis.guards import GuardOperations
from outlast.brokers.redis.history import HistoryOperations
from outlast.brokers.redis.loads import LoadOperations
from outlast.brokers.redis.records import RecordOperations
from outlast.brokers.redis.schedules import ScheduleOperations
from outlast.core.store.control import Answer, Command, Purge

__all__ = ["QueueStore"]


class QueueStore(
    ExchangeOperations,
    ClaimOperations,
    DeliveryOperations,
    RecordOperations,
    ControlOperations,
    ScheduleOperations,
    GuardOperations,
    HistoryOperations,
    LoadOperations,
):
    """One keyspace with the methods of the store protocols. Open its keyspace before the first call."""

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order; a purge of all jobs of a key removes it from the costs too."""
        answers = await super().apply(commands)
        for command in commands:
            if isinstance(command, Purge) and command.erased:
                await self.forget_tenant(command.erased)
        return answers
