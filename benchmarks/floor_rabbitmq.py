"""The floor under Outlast on RabbitMQ: confirmed publishes, prefetch, runs and cumulative acks, nothing around.

pika's asyncio connection, one quorum queue, persistent messages; one frame settles a batch of 256 and all before it.
Needs pika, msgspec and uvloop. `python -m benchmarks.floor_rabbitmq` is its worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pika
import uvloop
from pika.adapters.asyncio_connection import AsyncioConnection

from benchmarks import counter

__all__ = ["client"]

BATCH = 256
LINGER = 0.002
QUEUE = "floor"
QUORUM = {"x-queue-type": "quorum"}


class Body(msgspec.Struct):
    """A job as it is kept."""

    kind: str
    args: dict[str, Any]
    attempt: int = 1


def reply(call: Callable[..., Any], *args: object, callback: str = "callback", **more: object) -> asyncio.Future[Any]:
    """Turn one of pika's callbacks into a future."""
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    call(*args, **{callback: answered.set_result}, **more)
    return answered


async def connect() -> tuple[Any, Any]:
    """Return a connection and a channel, with the queue declared."""
    loop = asyncio.get_running_loop()
    opened = loop.create_future()
    connection = AsyncioConnection(
        pika.URLParameters(os.environ["BENCH_AMQP"]),
        on_open_callback=opened.set_result,
        on_open_error_callback=lambda _, error: opened.set_exception(error),
        custom_ioloop=loop,
    )
    await opened
    channel = await reply(connection.channel, callback="on_open_callback")
    await reply(channel.queue_declare, QUEUE, durable=True, arguments=QUORUM)
    return connection, channel


class FloorClient:
    """Publishes with confirms."""

    async def open(self) -> None:
        """Connect."""
        self._connection, self._channel = await connect()
        self._encode = msgspec.json.Encoder().encode
        self._properties = pika.BasicProperties(delivery_mode=2)
        self._sent = self._confirmed = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        await reply(self._channel.confirm_delivery, self._on_confirm)

    async def close(self) -> None:
        """Disconnect."""
        closed = asyncio.get_running_loop().create_future()
        self._connection.add_on_close_callback(lambda *_: closed.set_result(None))
        self._connection.close()
        await closed

    def _on_confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        tags = [each for each in self._waiting if each <= tag] if frame.method.multiple else [tag]
        for each in tags:
            if (accepted := self._waiting.pop(each, None)) is not None:
                accepted.set_result(None)

    def _publish(self, user_id: int, email: str) -> asyncio.Future[None]:
        body = self._encode(Body("send", {"user_id": user_id, "email": email}))
        self._channel.basic_publish("", QUEUE, body, self._properties, mandatory=True)
        self._sent += 1
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[self._sent] = accepted
        return accepted

    async def one(self, user_id: int, email: str) -> object:
        """Publish one job."""
        await self._publish(user_id, email)
        return None

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Publish a batch, and wait for all confirms."""
        return await asyncio.gather(*(self._publish(*row) for row in batch))


def client() -> FloorClient:
    """Return what enqueues."""
    return FloorClient()


async def handler(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class Worker:
    """Runs what is delivered in batches of 256, or of what has come within LINGER; the next one fills meanwhile."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, bytes]] = []
        self._flush: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._decode = msgspec.json.Decoder(Body).decode

    def _on_message(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self._waiting.append((method.delivery_tag, body))
        if len(self._waiting) >= BATCH:
            self._start(channel)
        elif self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(LINGER, self._start, channel)

    def _start(self, channel: Any) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        batch, self._waiting = self._waiting, []
        self._tasks.add(task := asyncio.create_task(self._run(channel, batch)))
        task.add_done_callback(self._tasks.discard)

    async def _run(self, channel: Any, batch: list[tuple[int, bytes]]) -> None:
        await asyncio.gather(*(handler(**self._decode(body).args) for _, body in batch))
        channel.basic_ack(batch[-1][0], multiple=True)  # one frame settles all before it on this channel

    async def work(self, stop: asyncio.Event) -> None:
        """Run until `stop`."""
        connection, channel = await connect()
        await reply(channel.basic_qos, prefetch_count=4 * BATCH)
        channel.basic_consume(QUEUE, self._on_message)
        await stop.wait()
        connection.close()


async def main() -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await Worker().work(stop)


if __name__ == "__main__":
    uvloop.run(main())
