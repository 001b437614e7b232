"""A client of RabbitMQ for a test, messages for it, and a collector of what it consumes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery
from outlast.clients.amqp.properties import MessageProperties
from tests.support.polling import until
from tests.support.servers.proxy import Proxy
from tests.support.servers.proxy_process import ProxyProcess
from tests.support.servers.rabbitmq_server import RabbitServer

__all__ = ["QUORUM", "Collector", "amqp", "message", "through"]

QUORUM = {"x-queue-type": "quorum"}
PERSISTENT = MessageProperties(delivery_mode=2)


@asynccontextmanager
async def amqp(url: str, *, opened: bool = True, options: str = "", **callbacks: Any) -> AsyncIterator[AmqpClient]:
    """Have a client; when it is closed, no message of it is without an answer."""
    client = AmqpClient(AmqpAddress.of(f"{url}?{options}" if options else url), **callbacks)
    try:
        if opened:
            await client.open()
        yield client
    finally:
        await client.close()
    assert client.unconfirmed == 0


def through(proxy: Proxy | ProxyProcess, server: RabbitServer, vhost: str) -> str:
    """Return the URL of a virtual host behind a proxy."""
    return server.url_of(vhost).replace(f":{server.port}/", f":{proxy.port}/")


def message(queue: str, body: bytes = b"x", **properties: Any) -> AmqpMessage:
    """Return a persistent message for a queue."""
    return AmqpMessage("", queue, body, MessageProperties(delivery_mode=2, **properties) if properties else PERSISTENT)


class Collector:
    """Keeps what is delivered; acknowledges it when it is told to."""

    def __init__(self, *, ack: bool = False) -> None:
        self.deliveries: list[AmqpDelivery] = []
        self.lost = 0
        self.consumer: AmqpConsumer | None = None
        self._ack = ack

    def __call__(self, delivery: AmqpDelivery) -> None:
        self.deliveries.append(delivery)
        if self._ack and self.consumer is not None:
            self.lost += len(self.consumer.ack(delivery.epoch, [delivery.tag]))

    def consume(self, client: AmqpClient, queue: str, prefetch: int = 100, **options: Any) -> AmqpConsumer:
        """Consume a queue into this collector."""
        self.consumer = client.consume(queue, prefetch, self, **options)
        return self.consumer

    @property
    def bodies(self) -> list[bytes]:
        """The bodies, in the order of their arrival."""
        return [delivery.body for delivery in self.deliveries]

    async def have(self, number: int) -> list[AmqpDelivery]:
        """Wait until so many have come; return them."""
        await until(lambda: len(self.deliveries) >= number, f"{number} deliveries", within=30)
        return self.deliveries[:number]
