"""FastStream on RabbitMQ: a durable queue, persistent messages, confirms, deep prefetch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from benchmarks import counter

__all__ = ["app", "broker", "client", "send"]

QUEUE = RabbitQueue("bench", durable=True)
broker = RabbitBroker(os.environ["BENCH_AMQP"], default_channel=Channel(prefetch_count=1000), logger=None)
app = FastStream(broker)


@broker.subscriber(QUEUE)
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class FastStreamClient:
    """FastStream's own calls."""

    async def open(self) -> None:
        """Connect, and declare the queue."""
        await broker.connect()
        await broker.declare_queue(QUEUE)

    async def close(self) -> None:
        """Close."""
        await broker.stop()

    async def one(self, user_id: int, email: str) -> object:
        """Publish one message."""
        return await broker.publish({"user_id": user_id, "email": email}, queue=QUEUE, persist=True)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Publish one after the other: it has no bulk call."""
        return [await self.one(*row) for row in batch]


def client() -> FastStreamClient:
    """Return what enqueues."""
    return FastStreamClient()
