"""A client of one RabbitMQ cluster: publishes on one connection, consumes and declares on another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from weakref import WeakSet

from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.channel import AmqpChannel, ChannelEvents
from outlast.clients.amqp.confirms import AmqpMessage, Publishing
from outlast.clients.amqp.consumer import AmqpConsumer, OnDelivery, OnReady
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.clients.amqp.link import AmqpLink
from outlast.clients.amqp.pika_types import AmqpMethod
from outlast.clients.amqp.publisher import AmqpPublisher
from outlast.clients.amqp.table import FieldValue
from outlast.core.errors import StoreError

__all__ = ["AmqpClient"]


class AmqpClient:
    """For one event loop. Each connection is made on first use, and again whenever it ends.

    An alarm of the server (memory, disk) stops the connection that publishes, and no acknowledgement. The requests of
    `declarations` run one after the other on a channel of the other connection; a refused one (406) ends no other.
    on_blocked: called with the server's reason when it stops to take messages, with None when it takes them again.
    on_change: called with the problem of either connection when it ends or cannot be made, with None when it is made.
    """

    def __init__(
        self,
        address: AmqpAddress,
        *,
        on_blocked: Callable[[str | None], None] | None = None,
        on_change: Callable[[StoreError | None], None] | None = None,
    ) -> None:
        self.address = address
        self._publishing = AmqpLink(address, "publish", on_blocked=on_blocked, on_change=on_change)
        self._consuming = AmqpLink(address, "consume", on_change=on_change)
        self._publisher = AmqpPublisher(self._publishing)
        self.declarations = AmqpDeclarations(self._call)
        self._epochs = count(1)
        self._consumers: WeakSet[AmqpConsumer] = WeakSet()
        self._control: AmqpChannel | None = None
        self._turn = asyncio.Lock()

    @property
    def blocked(self) -> str | None:
        """Why the server takes no messages now (an alarm), else None. Known from the first refused message on."""
        return self._publishing.blocked

    @property
    def unconfirmed(self) -> int:
        """The number of messages that are sent and not confirmed."""
        return self._publisher.unconfirmed

    @property
    def problem(self) -> StoreError | None:
        """Why one of the connections cannot be made, or has ended, else None."""
        return self._consuming.problem or self._publishing.problem

    async def open(self) -> None:
        """Connect; raise StoreUnavailable, AmqpRefused (login, virtual host), ConfigurationError (TLS files)."""
        await self._consuming.get()

    async def close(self) -> None:
        """End all consumers and both connections; publishes without an answer answer `unknown`."""
        await asyncio.gather(*(consumer.close() for consumer in list(self._consumers)))
        self._consumers.clear()
        await asyncio.gather(self._publishing.close(), self._consuming.close())

    async def publish(self, messages: Sequence[AmqpMessage], timeout: float) -> list[Publishing]:
        """Publish messages, confirmed and mandatory; see `AmqpPublisher.publish`."""
        return await self._publisher.publish(messages, timeout)

    def consume(
        self,
        queue: str,
        prefetch: int,
        on_delivery: OnDelivery,
        *,
        on_ready: OnReady | None = None,
        on_change: Callable[[StoreError | None], None] | None = None,
        arguments: Mapping[str, FieldValue] | None = None,
    ) -> AmqpConsumer:
        """Consume a queue from now on, until the consumer or the client is closed; see `AmqpConsumer`."""
        consumer = AmqpConsumer(
            self._consuming,
            queue,
            prefetch,
            on_delivery,
            epochs=self._epochs,
            on_ready=on_ready,
            on_change=on_change,
            arguments=arguments,
        )
        self._consumers.add(consumer)
        return consumer

    async def _call(self, method: AmqpMethod) -> AmqpMethod:
        """Send a request on the control channel and return its answer, in the order of the calls."""
        async with self._turn:
            if self._control is None or not self._control.alive:
                wire = await self._consuming.get()
                self._control = await wire.open_channel(ChannelEvents())
                self._control.ended.add_done_callback(self._forget_control)
            return await self._control.call(method)

    def _forget_control(self, _: object) -> None:
        if self._control is not None and not self._control.alive:
            self._control = None  # else it keeps a dead connection
