"""Consumes one queue on a channel of its own, and consumes again whatever ended it, until it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Final

from msgspec import Struct

from outlast.aio.callbacks import tell
from outlast.aio.tasks import cancel
from outlast.clients.amqp import methods
from outlast.clients.amqp.channel import AmqpChannel, AmqpContent, ChannelEvents
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.clients.amqp.errors import NOT_FOUND, AmqpRefused
from outlast.clients.amqp.frames import acknowledge, return_to_queue
from outlast.clients.amqp.link import LONGEST, AmqpLink, pauses
from outlast.clients.amqp.properties import MessageProperties, decode_properties
from outlast.clients.amqp.table import FieldValue
from outlast.clients.amqp.unsettled import Settling, UnsettledTags
from outlast.core.errors import OutlastError, StoreError, StoreUnavailable

__all__ = ["AmqpConsumer", "AmqpDelivery", "OnDelivery", "OnReady"]


class AmqpDelivery(Struct, frozen=True):
    """A delivered message. epoch and tag: its receipt, for `ack` and `nack` of the consumer that delivered it.

    header: the encoded properties. redelivered: it was delivered before, perhaps to another consumer.
    """

    queue: str
    epoch: int
    tag: int
    redelivered: bool
    exchange: str
    key: str
    header: bytes
    body: bytes

    def properties(self) -> MessageProperties:
        """Decode the properties; raise UnreadableHeaders (which has all but the headers) or TableError."""
        return decode_properties(self.header)


OnDelivery = Callable[[AmqpDelivery], None]
OnReady = Callable[[AmqpDeclarations], Awaitable[None]]


class _Epoch(ChannelEvents):
    """One channel of a consumer: its number, what it delivered, and whether the server still delivers on it."""

    def __init__(self, queue: str, number: int, on_delivery: OnDelivery) -> None:
        self.number = number
        self.unsettled = UnsettledTags()
        self.channel: AmqpChannel | None = None
        self.interrupted = asyncio.Event()
        self.problem: StoreError | None = None
        self._queue = queue
        self._on_delivery = on_delivery

    @property
    def alive(self) -> bool:
        return self.channel is not None and self.channel.alive

    def delivered(self, tag: int, redelivered: bool, content: AmqpContent) -> None:
        """A message was delivered."""
        self.unsettled.delivered(tag)
        delivery = AmqpDelivery(
            self._queue, self.number, tag, redelivered, content.exchange, content.key, content.header, content.body
        )
        error = tell(self._on_delivery, delivery)
        if error is not None:
            self.problem = StoreError(f"queue {self._queue!r}: the receiver of a delivery raised {error!r}")
            self.interrupted.set()

    def cancelled(self) -> None:
        """The server ended the consumer."""
        self.problem = AmqpRefused(
            f"queue {self._queue!r}", NOT_FOUND, "the server ended the consumer: the queue was deleted, or it moves"
        )
        self.interrupted.set()


class AmqpConsumer:
    """The consumer of one queue; made by `AmqpClient.consume`.

    on_delivery: called with each message, within a callback of the loop; when it raises, all that is not settled comes
    again. on_ready: awaited on each new channel before it consumes, to declare the topology; when it raises, it is
    tried again. on_change: called with the problem when it stops to consume, with None when it consumes again. While
    an answer of the server is overdue, the channel and its receipts stay (`epoch`).
    """

    def __init__(
        self,
        link: AmqpLink,
        queue: str,
        prefetch: int,
        on_delivery: OnDelivery,
        *,
        epochs: Iterator[int],
        on_ready: OnReady | None = None,
        on_change: Callable[[StoreError | None], None] | None = None,
        arguments: Mapping[str, FieldValue] | None = None,
        rng: Random | None = None,
    ) -> None:
        self.queue: Final = queue
        self.problem: StoreError | None = StoreUnavailable(f"queue {queue!r} is not consumed yet")
        self._link = link
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._epochs = epochs
        self._on_ready = on_ready
        self._on_change = on_change
        self._arguments = dict(arguments or {})
        self._rng = rng or Random()  # noqa: S311 - spreads attempts, guards nothing
        self._epoch: _Epoch | None = None
        self._overdue = False
        self._consuming = asyncio.Event()
        self._work = asyncio.create_task(self._keep(), name=f"outlast-amqp-consume-{queue}")

    @property
    def consuming(self) -> bool:
        """Whether the server has this consumer now; it has none while the prefetch is 0."""
        return self._consuming.is_set()

    @property
    def epoch(self) -> int:
        """The channel whose receipts it takes now; 0 for none."""
        return self._epoch.number if self._epoch is not None and self._epoch.alive else 0

    @property
    def prefetch(self) -> int:
        """The most messages that are delivered and not settled."""
        return self._prefetch

    @property
    def unsettled(self) -> int:
        """Messages of the present channel that are delivered and not settled."""
        return len(self._epoch.unsettled) if self._epoch is not None and self._epoch.alive else 0

    async def ready(self) -> None:
        """Wait until it consumes."""
        await self._consuming.wait()

    def ack(self, epoch: int, tags: Iterable[int]) -> list[int]:
        """Acknowledge deliveries; return the tags that are lost: their channel has ended, so they come again.

        Written, not confirmed: AMQP has no answer to it. One frame settles all of them as far as nothing below is open.
        """
        return self._settle(epoch, tags, lambda number, tag, several: acknowledge(number, tag, multiple=several))

    def nack(self, epoch: int, tags: Iterable[int], *, requeue: bool) -> list[int]:
        """Return deliveries to their queue, or (requeue False) let it dead-letter them; answers as `ack`."""
        return self._settle(
            epoch,
            tags,
            lambda number, tag, several: return_to_queue(number, tag, multiple=several, requeue=requeue),
        )

    def set_prefetch(self, prefetch: int) -> None:
        """Consume with another prefetch from now on; 0 stops the deliveries. The channel and its receipts stay."""
        if prefetch != self._prefetch:
            self._prefetch = prefetch
            if self._epoch is not None:
                self._epoch.interrupted.set()

    async def close(self) -> None:
        """End the consumer after all that was acknowledged; what is not settled goes back to the queue."""
        await cancel(self._work)

    def _settle(self, epoch: int, tags: Iterable[int], frame: Callable[[int, int, bool], bytes]) -> list[int]:
        present = self._epoch
        if present is None or present.number != epoch or not present.alive:
            return list(tags)
        channel = present.channel
        assert channel is not None
        settling: Settling = present.unsettled.settle(tags)
        if settling.cumulative:
            channel.write(frame(channel.number, settling.cumulative, True))
        for tag in settling.single:
            channel.write(frame(channel.number, tag, False))
        return list(settling.lost)

    async def _keep(self) -> None:
        """Consume again, for ever."""
        pause = pauses(self._rng)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._consume()
            except StoreError as error:
                self._note(error)
            except Exception as error:  # of on_ready; a consumer that ends would consume nothing, and tell nothing
                self._note(
                    StoreError(f"queue {self.queue!r}: {error if isinstance(error, OutlastError) else repr(error)}")
                )
            if loop.time() - began > LONGEST:
                pause = pauses(self._rng)
            await asyncio.sleep(next(pause))

    async def _consume(self) -> None:
        """Open a channel, declare, consume until that ends; raise the reason."""
        wire = await self._link.get()
        epoch = _Epoch(self.queue, next(self._epochs), self._on_delivery)
        channel = await wire.open_channel(epoch, self._note_overdue)
        epoch.channel = channel
        ended = channel.ended
        ended.add_done_callback(lambda _: epoch.interrupted.set())
        try:
            if self._on_ready is not None:
                await self._on_ready(AmqpDeclarations(channel.call))
            self._epoch = epoch
            number = 0
            while not ended.done() and epoch.problem is None:
                epoch.interrupted.clear()
                prefetch, number = self._prefetch, number + 1
                name = f"{wire.address.name}-{epoch.number}-{number}"
                if prefetch:
                    await channel.call(methods.limit_prefetch(prefetch))
                    await channel.call(methods.consume(self.queue, name, self._arguments))
                    self._consuming.set()
                self._note(None)
                while self._prefetch == prefetch and not ended.done() and epoch.problem is None:
                    await epoch.interrupted.wait()
                    epoch.interrupted.clear()
                self._consuming.clear()
                if prefetch and channel.alive and epoch.problem is None:
                    await channel.call(methods.cancel_consumer(name))
            raise epoch.problem or ended.result()
        finally:
            self._consuming.clear()
            self._epoch = None
            await asyncio.shield(channel.close())

    def _note_overdue(self, problem: StoreError) -> None:
        """Note that an answer is overdue. The channel goes on; its end, which may have the same reason, is told too."""
        self._note(problem)
        self._overdue = True

    def _note(self, problem: StoreError | None) -> None:
        changed = self._overdue or str(problem) != str(self.problem)
        self._overdue = False
        self.problem = None if problem is None else problem.with_traceback(None)  # else it keeps a dead connection
        if changed:
            tell(self._on_change, problem)
