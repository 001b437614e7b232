"""A transport of a test, and the short words that its tests use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from outlast.aio.clock import SystemClock
from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.brokers.registry import connect
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery
from outlast.clients.amqp.properties import MessageProperties
from outlast.core.ids import IdFactory
from outlast.core.message import Delivery, Message
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Lost, Settlement
from outlast.core.topology import Queue, Topology
from tests.support.jobs import A, message
from tests.support.polling import until

__all__ = ["Bench"]


class Bench:
    """A broker, and a client of AMQP beside it that knows no jobs."""

    def __init__(self, url: str, max_body: int = DEFAULTS.max_body) -> None:
        self.url = url
        self.clock = SystemClock()
        self.store = connect(url, clock=self.clock, max_body=max_body)
        self.broker = self.store.broker
        self.client = AmqpClient(AmqpAddress.of(url))
        self._ids = IdFactory()
        self._number = 0

    async def open(self, *queues: str) -> None:
        """Open the broker, and declare queues ("q" when none is named)."""
        await self.broker.open()
        await self.declare(*queues or ("q",))

    async def declare(self, *queues: str) -> None:
        """Declare queues."""
        await self.broker.declare(Topology(tuple(Queue(name=name) for name in queues)))

    async def close(self) -> None:
        """Close both."""
        await self.broker.close()
        await self.client.close()

    def message(self, queue: str = "q", **options: Any) -> Message:
        """Return a job, with a generated id."""
        self._number += 1
        now = self.clock.time()
        return message(self._ids.new(queue, now, self._number), now, **options)

    async def publish(self, number: int = 1, queue: str = "q", **options: Any) -> list[str]:
        """Publish jobs; return their ids."""
        messages = [self.message(queue, **options) for _ in range(number)]
        await self.broker.publish(messages)
        return [each.id for each in messages]

    async def claim(self, number: int = 1, *queues: str, slots: int = 0) -> list[Delivery]:
        """Claim so many jobs, at most `slots` a call."""
        given: list[Delivery] = []

        async def more() -> bool:
            demand = dict.fromkeys(queues or ("q",), slots or number)
            given.extend(
                await self.broker.claim(demand, limit=(slots or number) - len(given), holder=A, lease=10, wait=1)
            )
            return len(given) >= number

        await until(more, f"{number} jobs")
        return given

    async def settle(self, *settlements: Settlement) -> list[Lost]:
        """Settle."""
        return await self.broker.settle(settlements)

    async def stats(self, queue: str = "q") -> tuple[int, int, int]:
        """Return how many are ready, run here, and are dead."""
        found = (await self.broker.stats([queue]))[queue]
        return found.ready, found.running, found.dead

    async def send(self, body: bytes, properties: MessageProperties, queue: str = "q") -> None:
        """Publish as another client does."""
        (told,) = await self.client.publish([AmqpMessage("", queue, body, properties)], 30)
        assert told.outcome == "confirmed"

    async def letters(self, number: int, queue: str = "q") -> list[tuple[AmqpDelivery, Mapping[str, Any]]]:
        """Take so many dead letters, each with its headers, and check that there are no more."""
        taken: list[AmqpDelivery] = []
        consumer: AmqpConsumer = self.client.consume(dead_queue(queue), number + 1, taken.append)
        await until(lambda: len(taken) >= number, f"{number} dead letters")
        for each in taken:
            consumer.ack(each.epoch, [each.tag])
        await consumer.close()
        assert len(taken) == number
        return [(each, each.properties().headers) for each in taken]

    @staticmethod
    def args(delivery: Delivery) -> Any:
        """Return the arguments of a job."""
        return json.loads(bytes(delivery.message.args))
