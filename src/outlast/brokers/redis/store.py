"""The Redis store: broker, records, control and schedules of one namespace, for any number of machines."""

from __future__ import annotations

from collections.abc import Callable

from outlast.brokers.redis.cluster_store import ClusterStore
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.queue_store import QueueStore
from outlast.brokers.redis.store_base import BaseRedisStore
from outlast.clients.redis.address import Address
from outlast.clients.redis.facts import facts_of
from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreUnavailable
from outlast.core.policy import DEFAULTS
from outlast.core.space import Space
from outlast.core.topology import Topology

__all__ = ["RedisStore", "SingleServerStore", "store_at"]


class SingleServerStore(QueueStore, BaseRedisStore):
    """The store on one server, or on the master that Sentinels name: one keyspace holds the whole namespace."""

    def __init__(self, address: Address, *, clock: Clock, max_body: int, now: Callable[[], float] | None) -> None:
        BaseRedisStore.__init__(self, address, clock=clock, max_body=max_body)
        keyspace = Keyspace(self._client, address.namespace, now)
        QueueStore.__init__(self, keyspace, max_body, lambda: self._open)

    async def declare(self, topology: Topology) -> None:
        """Set the bounds of these queues, add the bindings, and let claims take parked jobs of these kinds."""
        await self.check_bindings(topology)
        await self.keyspace.declare(topology)
        await self.declare_bindings(topology)
        self._set_kinds(topology.kinds)

    async def memory(self) -> Space | None:
        """Return the memory that the server uses and its maxmemory, None if it denies INFO; raise StoreUnavailable."""
        try:
            facts = facts_of([await self._client.command("INFO", "memory")])
        except StoreUnavailable:
            raise
        except StoreError:
            return None
        return None if facts.used_memory is None else Space(facts.used_memory, facts.maxmemory or None)

    async def _start(self) -> None:
        await self.keyspace.open()

    async def _stop(self) -> None:
        await self.finish_undo()


RedisStore = SingleServerStore | ClusterStore


def store_at(
    url: str, *, clock: Clock, max_body: int = DEFAULTS.max_body, now: Callable[[], float] | None = None
) -> RedisStore:
    """Return the store of a "redis:" URL, not opened; raise ConfigurationError if the URL is wrong.

    now: for tests only, the wall time to use instead of the server's.
    """
    address = Address.of(url)
    kind = ClusterStore if address.kind == "cluster" else SingleServerStore
    return kind(address, clock=clock, max_body=max_body, now=now)
