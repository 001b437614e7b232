"""All operations in one keyspace: on one server the whole namespace; on a Cluster one queue, or the root."""

from __future__ import annotations

from outlast.brokers.redis.claim import ClaimOperations
from outlast.brokers.redis.control import ControlOperations
from outlast.brokers.redis.delivery import DeliveryOperations
from outlast.brokers.redis.exchanges import ExchangeOperations
from outlast.brokers.redis.guards import GuardOperations
from outlast.brokers.redis.history import HistoryOperations
from outlast.brokers.redis.loads import LoadOperations
from outlast.brokers.redis.records import RecordOperations
from outlast.brokers.redis.schedules import ScheduleOperations

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
