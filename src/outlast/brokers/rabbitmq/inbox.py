"""The inbox of a bridge: hands over the events that the server holds for queues of the app, and settles them there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from random import Random
from typing import Final

from outlast.aio.tasks import cancel
from outlast.brokers.rabbitmq.declared import dead_queue
from outlast.brokers.rabbitmq.event_feed import EventFeed
from outlast.brokers.rabbitmq.exchanges import RabbitExchanges
from outlast.brokers.rabbitmq.job_form import kept_properties
from outlast.brokers.rabbitmq.late import DueMessages, publish_then_settle
from outlast.brokers.rabbitmq.native import bound_queues, declare_fed_queue
from outlast.brokers.rabbitmq.publishing import JobPublisher
from outlast.brokers.rabbitmq.queue_watch import QueueWatch
from outlast.brokers.rabbitmq.waits import SettlementWaits
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpDelivery, OnReady
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreUnavailable
from outlast.core.store.inbox import Arrival, HeldArrival, RefusedArrival, SettledArrival

__all__ = ["PREFETCH", "RabbitInbox"]

_logger = logging.getLogger("outlast.rabbitmq")
PREFETCH: Final = 400
"""Messages of one queue that a worker has and the store has not: while a batch is stored, the next one arrives."""
DECLARE_EVERY: Final = 60.0
"""Seconds between two declarations of all exchanges and bindings."""


class RabbitInbox:
    """Consumes the bound queues of one app, each on a channel of its own, for one event loop.

    What is not settled is never dropped: the server has it until then, and at most PREFETCH messages of a queue wait
    here.
    """

    def __init__(self, exchanges: RabbitExchanges, *, clock: Clock, rng: Random, prefetch: int = PREFETCH) -> None:
        self._exchanges = exchanges
        self._clock = clock
        self._prefetch = prefetch
        self._rng = rng
        self._feeds: dict[str, EventFeed] = {}
        self._publisher = JobPublisher(exchanges.client)
        self._watch = QueueWatch(exchanges.client)
        self._burying: set[asyncio.Task[None]] = set()
        self._waits = SettlementWaits(clock.monotonic)
        self._looking: asyncio.Task[None] | None = None
        self._bells: set[asyncio.Event] = set()
        self._turn = 0
        self._declared_at: float | None = None

    def queues(self, names: Sequence[str]) -> list[str]:
        """Return those of these queues that have a binding, and those that keep what no binding takes."""
        topology = self._exchanges.topology
        bound = {each.queue for each in topology.bindings}
        return [each for each in bound_queues(topology) if each in names or each not in bound]

    async def take(self, queues: Sequence[str], *, limit: int, wait: float) -> list[Arrival]:
        """Hand out events of these queues, in turn."""
        for queue in queues:
            if queue not in self._feeds:
                self._feeds[queue] = EventFeed(
                    self._exchanges.client, queue, self._prefetch, on_ready=self._ready(queue), arrived=self._ring
                )
        loop = asyncio.get_running_loop()
        if self._declared_at is None:
            self._declared_at = loop.time()  # `declare` and the new consumers did it
        elif loop.time() - self._declared_at > DECLARE_EVERY:
            self._declared_at = loop.time()
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_at(list(self._feeds)), name="outlast bound queues")
        for queue in queues:
            await self._feeds[queue].end_silence(loop.time())
        until = loop.time() + wait
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            while not (taken := self._taken(queues, limit)) and (left := until - loop.time()) > 0:
                held = (self._feeds[queue].held_until - loop.time() for queue in queues)
                wakes = min((each for each in held if each > 0), default=left)
                bell.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, wakes)):
                        await bell.wait()
        finally:
            self._bells.discard(bell)
        return taken

    async def settle(self, taken: Sequence[SettledArrival]) -> None:
        """Acknowledge what is stored, bury what is refused, keep the rest for later."""
        stored: dict[str, list[AmqpDelivery]] = {}
        later: dict[str, list[HeldArrival]] = {}
        for each in taken:
            queue = each.arrival.message.queue
            if isinstance(each, HeldArrival):
                later.setdefault(queue, []).append(each)
            elif (delivery := self._feeds[queue].delivery(each.arrival)) is not None:
                if isinstance(each, RefusedArrival):
                    self._bury(self._feeds[queue], [(delivery, each.reason)])
                else:
                    stored.setdefault(queue, []).append(delivery)
        for queue, deliveries in stored.items():
            self._feeds[queue].acknowledge(deliveries)
        now = asyncio.get_running_loop().time()
        for queue, held in later.items():
            self._feeds[queue].put_back([each.arrival for each in held], now + max(each.after for each in held))

    async def close(self) -> None:
        """Stop: what is not settled goes back to its queue."""
        await cancel(*self._burying, *(() if self._looking is None else (self._looking,)))
        await asyncio.gather(*(feed.consumer.close() for feed in self._feeds.values()))
        self._feeds.clear()

    async def _look_at(self, queues: Sequence[str]) -> None:
        """Look which of these queues are gone, then declare all again, whatever came of the look."""
        try:
            await self._watch.look(queues)
        except Exception:  # of whatever kind: the declaration is needed all the more
            _logger.exception("the queues could not be looked at")
        finally:
            self._looking = None
        self._exchanges.declare_again()

    def _taken(self, queues: Sequence[str], limit: int) -> list[Arrival]:
        now, time = asyncio.get_running_loop().time(), self._clock.time()
        due = [queue for queue in queues if self._feeds[queue].waiting and self._feeds[queue].held_until <= now]
        arrivals: list[Arrival] = []
        for place in range(len(due)):
            feed = self._feeds[due[(self._turn + place) % len(due)]]
            share = -(-(limit - len(arrivals)) // (len(due) - place))
            given = feed.take(share, self._exchanges.reader, time)
            arrivals += given.arrivals
            if given.malformed:
                self._bury(feed, given.malformed)
        self._turn += 1
        return arrivals

    def _bury(self, feed: EventFeed, malformed: Sequence[tuple[AmqpDelivery, str]]) -> None:
        """Publish these to the queue of the dead letters, each with its reason, and acknowledge them then."""
        more = f" (and {len(malformed) - 1} more)" if len(malformed) > 1 else ""
        text = "queue %r: an event cannot become a job, and becomes a dead letter in %r: %s%s"
        _logger.error(text, feed.queue, dead_queue(feed.queue), malformed[0][1], more)
        due = [DueMessages(feed, [_letter(delivery, why)], delivery) for delivery, why in malformed]
        task = asyncio.create_task(
            publish_then_settle(due, self._publisher, _acknowledge, self._rng, self._waits),
            name="outlast dead letters",
        )
        self._burying.add(task)
        task.add_done_callback(self._buried)

    def _buried(self, task: asyncio.Task[None]) -> None:
        self._burying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("dead letters could not be published, they come again with a new channel", exc_info=error)

    def _ready(self, queue: str) -> OnReady:
        async def declare(to: AmqpDeclarations) -> None:
            exchanges = self._exchanges
            try:
                await declare_fed_queue(to, exchanges.topology, queue, exchanges.client.address)
            except ConfigurationError as error:
                raise StoreUnavailable(str(error)) from None  # the other queues go on, and this one is tried again

        return declare

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()


def _letter(delivery: AmqpDelivery, why: str) -> AmqpMessage:
    return AmqpMessage("", dead_queue(delivery.queue), delivery.body, kept_properties(delivery, why))


def _acknowledge(due: Sequence[DueMessages[EventFeed]]) -> None:
    for each in due:
        each.feed.acknowledge((each.delivery,))
