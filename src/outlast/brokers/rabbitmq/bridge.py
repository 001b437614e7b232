"""The bridge: a store of another kind keeps the jobs, and RabbitMQ carries and routes the events (ADR 23)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from outlast.brokers.rabbitmq.exchanges import RabbitExchanges
from outlast.brokers.rabbitmq.inbox import RabbitInbox
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.core.clock import Clock
from outlast.core.errors import StoreError
from outlast.core.message import Delivery, Holder, Message
from outlast.core.settlement import Lost, Note, Published, Settlement
from outlast.core.store.broker import Broker, Capabilities, QueueStats
from outlast.core.store.store import Store
from outlast.core.topology import Topology

__all__ = ["BridgedBroker", "bridged"]

_logger = logging.getLogger("outlast.rabbitmq")
PATIENCE: Final = 4.0
"""Seconds that the opening of an app waits for RabbitMQ, a second of them for new queues: jobs go on without it."""


def bridged(store: Store, url: str, *, clock: Clock, max_body: int) -> Store:
    """Return the store with exchanges on the RabbitMQ of `url`. No I/O; raise ConfigurationError for a wrong URL."""
    rng = Random()  # noqa: S311 - spreads attempts and makes ids, guards nothing
    outage = _OutageLog()
    client = AmqpClient(AmqpAddress.of(url), on_change=outage.changed)
    outage.client = client
    exchanges = RabbitExchanges(lambda: client, max_body=max_body, rng=rng, rows=store.exchanges)
    inbox = RabbitInbox(exchanges, clock=clock, rng=rng)
    return store.bridged(BridgedBroker(store.broker, client, exchanges, inbox), exchanges, inbox)


class BridgedBroker:
    """The broker of a store, whose `declare` and `close` are those of the exchanges on RabbitMQ too.

    Each call for jobs is the store's alone: while RabbitMQ is away, nothing else is.
    """

    __slots__ = ("_client", "_exchanges", "_inbox", "_store")

    def __init__(self, store: Broker, client: AmqpClient, exchanges: RabbitExchanges, inbox: RabbitInbox) -> None:
        self._store = store
        self._client = client
        self._exchanges = exchanges
        self._inbox = inbox

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store."""
        return self._store.capabilities

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Return what was not settled to its queue, disconnect, and close the store."""
        try:
            await self._inbox.close()
            await self._exchanges.close()
            await self._client.close()
        finally:
            await self._store.close()

    async def declare(self, topology: Topology) -> None:
        """Declare to the store, which remembers the bindings, and to RabbitMQ, if it answers within PATIENCE."""
        await self._store.declare(topology)
        await self._exchanges.declare(topology, PATIENCE)

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep jobs in the store."""
        return await self._store.publish(messages)

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out jobs of the store."""
        return await self._store.claim(demand, limit=limit, holder=holder, lease=lease, wait=wait)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Settle jobs of the store."""
        return await self._store.settle(settlements)

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the lease in the store."""
        return await self._store.extend(holder, lease=lease)

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes in the store."""
        return await self._store.save(notes)

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make the jobs of a dead holder ready in the store."""
        return await self._store.forfeit(holder, crashed=crashed)

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Return the counts of the store; what still waits on RabbitMQ is not in them."""
        return await self._store.stats(queues)


class _OutageLog:
    """Logs one line when RabbitMQ cannot be reached, and one when it is back; two connections tell of it."""

    def __init__(self) -> None:
        self.client: AmqpClient | None = None
        self._away = False

    def changed(self, problem: StoreError | None) -> None:
        """Note the problem of a connection, None when it is made."""
        if problem is not None and not self._away:
            self._away = True
            _logger.warning("RabbitMQ is away, events wait until it is back, jobs go on: %s", problem)
        elif self._away and self.client is not None and self.client.problem is None:
            self._away = False
            _logger.warning("RabbitMQ is back")
