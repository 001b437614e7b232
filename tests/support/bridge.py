"""A bridge without a worker: events are published to RabbitMQ, and `moved` moves all that came into the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from uuid import uuid4

from outlast.aio.clock import SystemClock
from outlast.brokers.rabbitmq.bridge import bridged
from outlast.brokers.rabbitmq.exchanges import RabbitExchanges
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.message import Message
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Published
from outlast.core.store.store import CompleteStore, Store
from outlast.worker.intake import Intake, intakes_of
from outlast.worker.store_link import StoreLink

__all__ = ["Bridge", "open_bridge"]


class Bridge:
    """A store whose events RabbitMQ routes. moved_in: all that was moved into the store, with its answers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.moved_in: list[tuple[Message, Published]] = []
        self.link = StoreLink(store, SystemClock(), Random(0), reconnect=None, patience=30)

    @property
    def client(self) -> AmqpClient:
        """The client of the bridge."""
        assert isinstance(self.store.exchanges, RabbitExchanges)
        return self.store.exchanges.client

    def intakes(self, queues: Sequence[str]) -> list[Intake]:
        """Return the intakes of a worker of these queues."""
        assert self.store.inbox is not None
        return intakes_of(self.store.inbox, self.link, queues, self._told)

    def _told(self, messages: Sequence[Message], answers: Sequence[Published]) -> None:
        self.moved_in += zip(messages, answers, strict=True)

    async def moved(self, queues: Sequence[str]) -> list[Message]:
        """Move what has come to these queues so far; return it, without what was moved by an earlier call.

        A last event in each queue, published to it directly, marks the end: RabbitMQ keeps the order of a queue.
        """
        begun = len(self.moved_in)
        intakes = self.intakes(queues)
        fed = [queue for intake in intakes for queue in intake.queues]
        marks = {queue: f"mark-{uuid4().hex}" for queue in fed}
        last = [
            AmqpMessage("", queue, b"null", MessageProperties(message_id=mark, delivery_mode=2))
            for queue, mark in marks.items()
        ]
        assert {each.outcome for each in await self.client.publish(last, 30)} <= {"confirmed"}
        missing = set(marks.values())
        async with asyncio.timeout(60):
            while missing:
                for intake in intakes:
                    await intake.step(wait=0.05)
                missing -= {each.headers["outlast-event"] for each, _ in self.moved_in[begun:] if each.headers}
        return [
            each
            for each, _ in self.moved_in[begun:]
            if each.headers and each.headers["outlast-event"] not in marks.values()
        ]


@asynccontextmanager
async def open_bridge(store: CompleteStore, url: str, *, max_body: int = DEFAULTS.max_body) -> AsyncIterator[Bridge]:
    """Open a store, and a bridge to the RabbitMQ of `url`."""
    bridge = Bridge(bridged(Store.of(store, "test"), url, clock=SystemClock(), max_body=max_body))
    await bridge.store.broker.open()
    try:
        yield bridge
    finally:
        await bridge.store.broker.close()
