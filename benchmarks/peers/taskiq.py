"""taskiq on a Redis stream or RabbitMQ: no result backend; its worker command takes uvloop where it is there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from benchmarks import counter

__all__ = ["broker", "client", "send"]

if amqp := os.environ.get("BENCH_AMQP"):
    from taskiq_aio_pika import AioPikaBroker

    broker = AioPikaBroker(amqp, qos=1000)
else:
    from taskiq_redis import RedisStreamBroker

    # From "0" on: by its own setting a worker skips what was enqueued before it first started.
    broker = RedisStreamBroker(os.environ["BENCH_REDIS"], consumer_id="0")


@broker.task(task_name="send")
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)
    if counter.NAP:
        await asyncio.sleep(counter.NAP)


class TaskiqClient:
    """taskiq's own calls."""

    async def open(self) -> None:
        """Connect."""
        await broker.startup()

    async def close(self) -> None:
        """Close."""
        await broker.shutdown()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        return await send.kiq(user_id, email)

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue one after the other: it has no bulk call."""
        return [await self.one(*row) for row in batch]


def client() -> TaskiqClient:
    """Return what enqueues."""
    return TaskiqClient()
