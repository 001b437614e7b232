"""What one worker consumes: its queues with their shares of its slots, and what becomes of what no claim asks for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final

from msgspec import structs

from outlast.aio.deadlines import Deadlines
from outlast.aio.tasks import cancel
from outlast.brokers.rabbitmq.buckets import DELAYS
from outlast.brokers.rabbitmq.declared import dead_queue, declare_buckets, declare_queue
from outlast.brokers.rabbitmq.exchanges import RabbitExchanges
from outlast.brokers.rabbitmq.feed import QueueFeed
from outlast.brokers.rabbitmq.job_form import Malformed, TakenJob, kept_properties, read_job, returns_of
from outlast.brokers.rabbitmq.late import DueMessages, publish_then_settle
from outlast.brokers.rabbitmq.native import declare_fed_queue
from outlast.brokers.rabbitmq.offered import FEATURES
from outlast.brokers.rabbitmq.publishing import JobPublisher
from outlast.brokers.rabbitmq.queue_watch import QueueWatch
from outlast.brokers.rabbitmq.settling import again, may_requeue
from outlast.brokers.rabbitmq.shares import RESHARE, shares_of
from outlast.brokers.rabbitmq.waits import SettlementWaits
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage
from outlast.clients.amqp.consumer import AmqpDelivery, OnReady
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.clients.amqp.table import TableError
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreError, StoreUnavailable
from outlast.core.ids import IdFactory
from outlast.core.message import Delivery
from outlast.core.select import wanted
from outlast.core.store.features import check_messages

__all__ = ["Consumption"]

_OF_OTHERS: Final = structs.replace(FEATURES, ids=True, delays=None)
"""What a job of another client may ask for: its id is not remembered, and its times are over or in a bucket."""
_logger = logging.getLogger("outlast.worker")

_BUCKETS: Final = 10.0
"""Seconds that the server has to make the buckets before the first claim goes on."""
_KEEP_EVERY: Final = 5.0
_IDLE: Final = 10.0
"""Seconds for which delivered jobs may wait while no claim asks for them; after that other workers get them."""
_SILENCE: Final = 60.0
"""Seconds without a message after which a queue is consumed on a new channel."""
_DEAD_EVERY: Final = 60.0
"""Seconds between two looks whether the queues of dead letters, the exchanges and the bindings are there."""
_LATE: Final = 10
"""Jobs for each slot whose settlement may wait for a confirm while further jobs run: an alarm of the server may be
long."""
_LAST_CALL: Final = 2.0
"""Seconds that a close waits for confirms; what is not settled then goes back to its queue."""


class Consumption:
    """Consumes the queues that claims ask for, from the first claim on."""

    def __init__(
        self,
        client: AmqpClient,
        publisher: JobPublisher,
        *,
        clock: Clock,
        rng: Random,
        max_body: int,
        tokens: Iterator[int],
        exchanges: RabbitExchanges,
    ) -> None:
        """tokens: numbers that grow and never come back, for the fences."""
        self._exchanges = exchanges
        self.feeds: Final[dict[str, QueueFeed]] = {}
        self._client = client
        self._publisher = publisher
        self._clock = clock
        self._rng = rng
        self._tokens = tokens
        self._max_body = max_body
        self._ids = IdFactory()
        self._most: dict[str, int] = {}
        self._shared_at = 0.0
        self._turn = 0
        self._may_take = True
        self._bell = asyncio.Event()
        self._deadlines = Deadlines()
        self._late: set[asyncio.Task[None]] = set()
        self._waits = SettlementWaits(clock.monotonic)
        self._watch = QueueWatch(client)
        self._keeper: asyncio.Task[None] | None = None

    async def claim(self, demand: Mapping[str, int], limit: int, wait: float) -> list[Delivery]:
        """Hand out what was delivered; raise StoreUnavailable if none of the queues is consumed, after the wait."""
        await self._attend(demand, limit)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            self._bell.clear()
            given = self._take(demand, limit) if self._may_take else []
            left = until - loop.time()
            if given:
                return given
            if left <= 0:
                break
            with contextlib.suppress(TimeoutError), self._deadlines.within(left):
                await self._bell.wait()
        failing = [self.feeds[queue].failing for queue in wanted(demand)]
        if failing and all(failing):
            raise StoreUnavailable(failing[0] if "://" in failing[0] else f"{self._client.address.shown}: {failing[0]}")
        return []

    def publish_late(self, due: Sequence[DueMessages]) -> asyncio.Task[None]:
        """Publish, then acknowledge, in a task of its own, which is not given up before `stop`."""
        work = publish_then_settle(due, self._publisher, _acknowledge, self._rng, self._waits)
        task = asyncio.create_task(work, name="outlast rabbitmq settling")
        self._late.add(task)
        task.add_done_callback(lambda ended: self._late_ended(ended, due))
        return task

    async def stop(self) -> None:
        """Return what was delivered and did not run; what is held and not settled within a moment goes back too."""
        if self._keeper is not None:
            await cancel(self._keeper)
            self._keeper = None
        for feed in self.feeds.values():
            feed.consumer.set_prefetch(0)
            self._return(feed, requeue=False)
        if self._late:
            await asyncio.wait(self._late, timeout=_LAST_CALL)
            await cancel(*self._late)
        for feed in self.feeds.values():
            await feed.close()
        self.feeds.clear()

    # Consuming

    async def _attend(self, demand: Mapping[str, int], limit: int) -> None:
        """Consume these queues, each with its share of the slots; consume again when the shares change."""
        now = self._clock.monotonic()
        if self._keeper is None:
            await self._declare_buckets()
            self._keeper = asyncio.create_task(self._keep(), name="outlast rabbitmq keeper")
        slots, late, given = limit, 0, 0
        for queue, feed in self.feeds.items():
            slots += len(feed.held) - len(feed.late)
            late += len(feed.late)
            if queue not in demand:
                feed.consumer.set_prefetch(0)
            given += feed.consumer.prefetch
        self._may_take = late < _LATE * max(1, slots)
        slots += min(late, _LATE * slots)
        changed = False
        for queue, more in demand.items():
            known = self.feeds.get(queue)
            held = 0 if known is None else len(known.held)
            self._most[queue] = max(self._most.get(queue, 1), held + more)
            if known is None:
                changed = True
            elif more:
                known.asked_at = now
                prefetch = known.consumer.prefetch
                # It was not consumed, or nothing more can come though there is room that no queue has.
                changed = changed or not prefetch or (prefetch <= held and given < slots)
        if changed or now - self._shared_at >= RESHARE:
            self._share(slots, demand, now)

    async def _declare_buckets(self) -> None:
        """Make the buckets; raise ConfigurationError. A server that is slow now makes them when one is needed."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_BUCKETS):
                await declare_buckets(self._client.declarations, DELAYS, self._client.address)

    def _share(self, slots: int, demand: Mapping[str, int], now: float) -> None:
        busy = [queue for queue, feed in self.feeds.items() if queue in demand and feed.full]
        shares = shares_of(slots, {queue: self._most[queue] for queue in demand}, busy)
        for queue, share in shares.items():
            feed = self.feeds.get(queue)
            if feed is None:
                ready = self._declares(queue)
                feed = self.feeds[queue] = QueueFeed(
                    self._client,
                    queue,
                    share,
                    tokens=self._tokens,
                    read=self._read,
                    on_ready=ready,
                    arrived=self._bell.set,
                )
                feed.asked_at = now
            elif (demand[queue] or feed.consumer.prefetch) and not (feed.waiting and share > feed.consumer.prefetch):
                # The server counts what it delivered before as another consumer's: each change may bring `share` more.
                feed.consumer.set_prefetch(share)
            feed.full = feed.outstanding >= share
        self._most = dict.fromkeys(demand, 1)
        self._shared_at = now

    def _declares(self, queue: str) -> OnReady:
        async def declare(to: AmqpDeclarations) -> None:
            try:
                await declare_queue(to, queue, self._client.address)
                await declare_fed_queue(to, self._exchanges.topology, queue, self._client.address)
            except ConfigurationError as error:
                raise StoreUnavailable(str(error)) from None  # the consumer tries again, for ever

        return declare

    def _take(self, demand: Mapping[str, int], limit: int) -> list[Delivery]:
        """Take from the queues, each claim from another one first."""
        queues = wanted(demand)
        given: list[Delivery] = []
        now = self._clock.time()
        for turn in range(len(queues)):
            queue = queues[(self._turn + turn) % len(queues)]
            feed = self.feeds[queue]
            most = min(demand[queue], limit - len(given))
            if most <= 0 or not feed.waiting:
                continue
            taken = feed.take(most, now)
            given += taken.jobs
            if taken.malformed:
                more = f" (and {len(taken.malformed) - 1} more)" if len(taken.malformed) > 1 else ""
                text = "queue %r: a message is no job and becomes a dead letter: %s%s"
                _logger.error(text, queue, taken.malformed[0][1], more)
            if taken.malformed or taken.early:
                letters = [(delivery, _letter(queue, delivery, why)) for delivery, why in taken.malformed]
                waits = [(each.delivery, again(each.job, each.job.not_before, now, self._rng)) for each in taken.early]
                self.publish_late([DueMessages(feed, [sent], delivery) for delivery, sent in (*letters, *waits)])
        self._turn += 1
        return given

    def _read(self, delivery: AmqpDelivery) -> TakenJob:
        if self._exchanges.topology.bindings and (event := self._read_event(delivery)) is not None:
            return event
        job = read_job(delivery, self._clock.time(), self._new_id, self._max_body)
        message = job.message
        if message.priority != "normal" or message.key is not None or message.unique is not None or message.max_wait:
            try:
                check_messages((message,), _OF_OTHERS, self._client.address.shown)
            except ConfigurationError as error:
                raise Malformed(str(error)) from None
        return job

    def _read_event(self, delivery: AmqpDelivery) -> TakenJob | None:
        """Return the copy of an event that a message is, None if it is a job; raise Malformed."""
        try:
            properties = delivery.properties()
        except TableError:
            return None
        reader = self._exchanges.reader
        if not reader.takes(delivery, properties.type):
            return None
        returns = returns_of(properties.headers)
        message = reader.read(delivery, self._clock.time())
        return TakenJob(message, crashes=returns, begun=returns > 0, returns=returns)

    def _new_id(self, queue: str) -> str:
        return self._ids.new(queue, self._clock.time(), self._rng.getrandbits(62))

    # Keeping

    async def _keep(self) -> None:
        """Give back what no claim asks for, end silences, and make queues of dead letters again that were deleted."""
        looked = self._clock.monotonic()
        while True:
            await asyncio.sleep(_KEEP_EVERY)
            now = self._clock.monotonic()
            look = now - looked >= _DEAD_EVERY
            looked = now if look else looked
            try:
                await self._keep_once(now, look=look)
            except (StoreError, ConfigurationError) as error:  # the consumer of the queue tells of it, too
                _logger.debug("the queues cannot be looked at: %s", error)
            except Exception:  # of whatever kind: the next look is needed all the more
                _logger.exception("the queues could not be looked at")

    async def _keep_once(self, now: float, *, look: bool) -> None:
        for feed in self.feeds.values():
            if feed.waiting and now - feed.asked_at > _IDLE:
                if feed.consumer.prefetch:
                    feed.consumer.set_prefetch(0)  # what is returned before would come back here
                else:
                    self._return(feed)
        await self._end_silences()
        if look:
            await self._watch.look(list(self.feeds))  # before all is declared: it tells what is gone
            self._exchanges.declare_again()

    async def _end_silences(self) -> None:
        """Consume a queue on a new channel from which nothing has come for a while; see `QueueFeed.renew`."""
        now = self._clock.monotonic()
        for feed in list(self.feeds.values()):
            if feed.heard or feed.outstanding or not (feed.consumer.consuming and feed.consumer.prefetch):
                feed.heard, feed.heard_at = False, now
            elif now - feed.heard_at > _SILENCE:
                feed.heard_at = now
                await feed.renew()

    def _return(self, feed: QueueFeed, *, requeue: bool = True) -> None:
        """Return what was delivered and not handed out, so that no job becomes suspect by returns alone.

        requeue False: what the server may take back as it is, the end of the channel returns.
        """
        now = self._clock.time()
        plain: list[AmqpDelivery] = []
        due: list[DueMessages] = []
        for delivery in feed.give_back():
            job = feed.read(delivery)
            if job is None or may_requeue(job):
                plain.append(delivery)
            else:
                due.append(DueMessages(feed, [again(job, now, now, self._rng)], delivery))
        if requeue:
            feed.drop(plain, requeue=True)
        if due:
            self.publish_late(due)

    def _late_ended(self, task: asyncio.Task[None], due: Sequence[DueMessages]) -> None:
        self._late.discard(task)
        for each in due:
            each.feed.late.discard(each.token)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a settlement failed, its job runs again when its connection ends", exc_info=error)


def _letter(queue: str, delivery: AmqpDelivery, why: str) -> AmqpMessage:
    return AmqpMessage("", dead_queue(queue), delivery.body, kept_properties(delivery, why))


def _acknowledge(due: Sequence[DueMessages]) -> None:
    """Acknowledge deliveries whose messages are confirmed."""
    held: dict[QueueFeed, list[int]] = {}
    unheld: dict[QueueFeed, list[AmqpDelivery]] = {}
    for each in due:
        if each.token:
            held.setdefault(each.feed, []).append(each.token)
        else:
            unheld.setdefault(each.feed, []).append(each.delivery)
    for feed, tokens in held.items():
        feed.settled(tokens)
    for feed, deliveries in unheld.items():
        feed.drop(deliveries)
