"""One queue that the server feeds: what was delivered, what is in the hands of the worker, and what must wait."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from outlast.brokers.rabbitmq.event_form import EventReader
from outlast.brokers.rabbitmq.job_form import Malformed
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.consumer import AmqpConsumer, AmqpDelivery, OnReady
from outlast.core.errors import StoreError
from outlast.core.store.inbox import Arrival

__all__ = ["EventFeed", "FedArrivals"]

_logger = logging.getLogger("outlast.rabbitmq")
FIRST: Final = 16
"""Messages that are asked for until their sizes are known: they may be of 100 MB each."""
ROOM: Final = 32 * 1024 * 1024
"""Bytes of a queue that may wait here, by the largest of its last messages."""
LAST: Final = 1000
"""Messages after which the largest is forgotten."""
SILENCE: Final = 60.0
"""Seconds without a message after which a queue is consumed again on a new channel."""
_TAG_BITS: Final = 40
"""Bits of the delivery tag in a token; the epoch of the channel, which no other channel of the client has, is above."""


class FedArrivals(NamedTuple):
    """What a queue hands out: arrivals; messages that cannot become jobs, with the reason."""

    arrivals: list[Arrival]
    malformed: list[tuple[AmqpDelivery, str]]


class EventFeed:
    """Consumes one queue; at most `most` messages that are not settled are here, fewer if they are large.

    arrived: called when a message was delivered, or the state of the consumer has changed. held_until: monotonic time
    before which nothing is handed out, since the store has no room in the queue.
    """

    def __init__(
        self, client: AmqpClient, queue: str, most: int, *, on_ready: OnReady, arrived: Callable[[], None]
    ) -> None:
        self.queue: Final = queue
        self.held_until = 0.0
        self.ended_epoch = 0
        """Receipts of this channel and of those before it are lost."""
        self._client = client
        self._on_ready = on_ready
        self._heard_at = asyncio.get_running_loop().time()
        self._waiting: deque[AmqpDelivery] = deque()
        self._returned: deque[Arrival] = deque()
        self._held: dict[int, AmqpDelivery] = {}
        self._epoch = 0
        self._failing = ""
        self._arrived = arrived
        self._most = most
        self._largest = 0
        self._seen = 0
        self.consumer = self._consume(min(FIRST, most))

    def _consume(self, prefetch: int) -> AmqpConsumer:
        return self._client.consume(
            self.queue, prefetch, self._deliver, on_ready=self._on_ready, on_change=self._changed
        )

    async def end_silence(self, now: float) -> None:
        """Consume on a new channel if nothing has come for SILENCE seconds and nothing is held. now: loop's time.

        A queue that was deleted and made again at once leaves a consumer in RabbitMQ 3.10 to which nothing is delivered
        and nothing is said.
        """
        if self._held or self._waiting or not self.consumer.consuming:
            self._heard_at = now
        elif now - self._heard_at > SILENCE:
            self._heard_at = now
            await self.consumer.close()
            self._forget()
            self.consumer = self._consume(self.consumer.prefetch)

    @property
    def waiting(self) -> int:
        """The number of messages that can be handed out."""
        return len(self._waiting) + len(self._returned)

    def take(self, most: int, reader: EventReader, now: float) -> FedArrivals:
        """Hand out at most `most` arrivals, first those that came back. now: wall time."""
        taken = FedArrivals([], [])
        while self._returned and len(taken.arrivals) < most:
            taken.arrivals.append(self._returned.popleft())
        while self._waiting and len(taken.arrivals) < most:
            delivery = self._waiting.popleft()
            try:
                message = reader.read(delivery, now)
            except Malformed as error:
                taken.malformed.append((delivery, str(error)))
                continue
            token = delivery.epoch << _TAG_BITS | delivery.tag
            self._held[token] = delivery
            taken.arrivals.append(Arrival(token, message))
        return taken

    def delivery(self, arrival: Arrival) -> AmqpDelivery | None:
        """Return what brought an arrival, and forget it; None if its channel has ended."""
        return self._held.pop(arrival.token, None)

    def put_back(self, arrivals: Sequence[Arrival], until: float) -> None:
        """Keep these arrivals, in their order, before all others; hand out nothing until this monotonic time."""
        self._returned.extendleft(reversed([each for each in arrivals if each.token in self._held]))
        self.held_until = max(self.held_until, until)

    def acknowledge(self, deliveries: Iterable[AmqpDelivery]) -> None:
        """Remove these from the server; those of a channel that has ended come again."""
        by_epoch: dict[int, list[int]] = {}
        for each in deliveries:
            by_epoch.setdefault(each.epoch, []).append(each.tag)
        for epoch, tags in by_epoch.items():
            self.consumer.ack(epoch, tags)

    def _deliver(self, delivery: AmqpDelivery) -> None:
        self._waiting.append(delivery)
        self._epoch = delivery.epoch
        self._heard_at = asyncio.get_running_loop().time()
        self._fit_prefetch(len(delivery.body))
        self._arrived()

    def _fit_prefetch(self, size: int) -> None:
        """Ask for as many messages as have room: fewer at once, more when so many of them have come."""
        if self._seen >= LAST:
            self._seen = self._largest = 0
        self._seen += 1
        self._largest = max(self._largest, size)
        fitting, prefetch = min(self._most, max(1, ROOM // max(1, self._largest))), self.consumer.prefetch
        if fitting < prefetch or (fitting >= 2 * prefetch and self._seen >= prefetch):
            self.consumer.set_prefetch(fitting)

    def _changed(self, problem: StoreError | None) -> None:
        """Forget what an ended channel had delivered; log what is the matter with this queue alone, once."""
        if problem is not None:
            if not self.consumer.epoch:  # while an answer is overdue, the server has not taken anything back
                self._forget()
            if self._client.problem is None and str(problem) != self._failing:
                self._failing = str(problem)
                _logger.warning("queue %r: no events are taken from it now: %s", self.queue, problem)
        elif self._failing:
            self._failing = ""
            _logger.warning("queue %r: events are taken from it again", self.queue)
        self._arrived()

    def _forget(self) -> None:
        """Forget what the channel had delivered: the server delivers it again."""
        self.ended_epoch = self._epoch
        self._waiting.clear()
        self._returned.clear()
        self._held.clear()
