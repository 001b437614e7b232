"""All that is done at one place: on a server the whole namespace, on a Cluster one queue, or what belongs to none."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from outlast.brokers.redis import delivery, records
from outlast.brokers.redis.claim_recovery import ClaimRecovery
from outlast.brokers.redis.control import RedisCommands
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.publish import Publisher
from outlast.brokers.redis.schedules import RedisSchedules
from outlast.core.message import Holder, State
from outlast.core.settlement import Lost, Note, Settlement
from outlast.core.store.broker import QueueStats
from outlast.core.store.records import JobRecord, Page, Query

__all__ = ["QueueStore"]

T = TypeVar("T")
_Asking = Coroutine[Any, Any, T]


class QueueStore:
    """One place. What is asked of a store that has all its queues here: each method is one of core.protocols."""

    def __init__(self, place: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        self.place: Final = place
        self.claims: Final = ClaimRecovery(place, is_open)
        self.desk: Final = RedisCommands(place, max_body)
        self.schedules: Final = RedisSchedules(place, max_body)
        self.open: Final = place.open
        self.close: Final = self.claims.close
        self.declare: Final = place.declare
        self.publish: Final = Publisher(place, max_body).publish
        self.claim: Final = self.claims.claim
        self.apply: Final = self.desk.apply
        self.advance: Final = self.schedules.advance

    async def shelf(self) -> RedisSchedules:
        """Return where schedules are kept."""
        return self.schedules

    def settle(self, settlements: Sequence[Settlement]) -> _Asking[list[Lost]]:
        """Apply each settlement whose fence still counts; return the superseded."""
        return delivery.settle(self.place, settlements)

    def extend(self, holder: Holder, lease: float) -> _Asking[list[Lost]]:
        """Renew all that the holder holds here."""
        return delivery.extend(self.place, holder, lease)

    def save(self, notes: Sequence[Note]) -> _Asking[list[Lost]]:
        """Keep notes about running jobs; return the superseded."""
        return delivery.save(self.place, notes)

    def forfeit(self, holder: Holder, *, crashed: bool) -> _Asking[int]:
        """Make all that a dead holder held here ready; return how many."""
        return delivery.forfeit(self.place, holder, crashed=crashed)

    def stats(self, queues: Sequence[str]) -> _Asking[dict[str, QueueStats]]:
        """Count these queues, all known ones when empty."""
        return records.stats(self.place, queues)

    def get(self, ids: Sequence[str]) -> _Asking[list[JobRecord | None]]:
        """Return the records, aligned with `ids`."""
        return records.get(self.place, ids)

    def watch(self, bell: str, ids: Sequence[str]) -> _Asking[None]:
        """Have this bell rung when these jobs end."""
        return records.watch(self.place, bell, ids)

    def find(self, query: Query) -> _Asking[Page]:
        """Return one page of matching records."""
        return records.find(self.place, query)

    def kinds(self, queue: str) -> _Asking[dict[str, int]]:
        """Count the jobs of a queue that have not ended, by kind."""
        return records.kinds(self.place, queue)

    def count(self, query: Query) -> _Asking[dict[State, int]]:
        """Count matching records by state."""
        return records.count(self.place, query)
