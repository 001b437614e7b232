"""The broker on RabbitMQ: publishes jobs with confirms, hands out what the server delivers, settles by native acks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping, Sequence
from random import Random
from typing import Any, Final

from msgspec import structs

from outlast.aio.deadlines import Deadlines
from outlast.aio.tasks import cancel
from outlast.brokers.rabbitmq.buckets import DELAYS
from outlast.brokers.rabbitmq.counts import counts_of
from outlast.brokers.rabbitmq.declared import dead_queue, declare_buckets, declare_queue
from outlast.brokers.rabbitmq.feed import QueueFeed
from outlast.brokers.rabbitmq.job_form import RESERVED, kept_properties
from outlast.brokers.rabbitmq.late import DueMessages, publish_then_settle
from outlast.brokers.rabbitmq.offered import FEATURES
from outlast.brokers.rabbitmq.publishing import JobPublisher
from outlast.brokers.rabbitmq.settling import again, first, may_requeue, plan_of
from outlast.brokers.rabbitmq.shares import RESHARE, shares_of
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage, Publishing
from outlast.clients.amqp.consumer import AmqpDelivery
from outlast.clients.amqp.declarations import AmqpDeclarations
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreError, StoreUnavailable, StoreUncertain
from outlast.core.ids import IdFactory
from outlast.core.message import Delivery, Holder, Message
from outlast.core.select import wanted
from outlast.core.settlement import ACCEPTED, Full, Lost, Note, Published, Settlement, TooLarge
from outlast.core.store.broker import Capabilities, QueueStats
from outlast.core.store.features import check_feature, check_messages
from outlast.core.topology import Topology

__all__ = ["RabbitBroker"]

_logger = logging.getLogger("outlast.worker")

HEARTBEATS: Final = (30, 600)
"""The shortest and the longest heartbeat in seconds. A run that blocks the event loop lets heartbeats fail, so they are
as long as the longest run; a machine without power is noticed after two of them."""
_PUBLISH: Final = 30.0
"""Seconds of one publish at most; the caller has a deadline of its own."""
_SETTLE: Final = 1.0
"""Seconds for which `settle` waits for the confirms of what it publishes; after that they are awaited beside it."""
_KEEP_EVERY: Final = 5.0
_IDLE: Final = 10.0
"""Seconds for which delivered jobs may wait while no claim asks for them; after that other workers get them."""
_DEAD_EVERY: Final = 60.0
"""Seconds between two looks whether the queues of dead letters are there."""
_FULL_RETRY: Final = 5.0
_LAST_CALL: Final = 2.0
"""Seconds that a close waits for confirms; what is not settled then goes back to its queue."""


class RabbitBroker:
    """Carries jobs over one RabbitMQ cluster, for one event loop; see docs/rabbitmq.md.

    longest_run: the consumer timeout of the server, in seconds. keep_heartbeat: the URL sets the heartbeat.
    """

    def __init__(
        self,
        address: AmqpAddress,
        *,
        clock: Clock,
        max_body: int,
        longest_run: float,
        keep_heartbeat: bool = False,
        rng: Random | None = None,
    ) -> None:
        self.capabilities: Final = Capabilities(
            durability="os-crash",
            max_body=max_body,
            shared=True,
            leases=False,
            longest_run=longest_run,
            features=FEATURES,
        )
        self._address = address
        self._clock = clock
        self._keep_heartbeat = keep_heartbeat
        self._rng = rng or Random()  # noqa: S311 - spreads delays and names, guards nothing
        self._ids = IdFactory()
        self._client: AmqpClient | None = None
        self._publisher: JobPublisher | None = None
        self._queues: tuple[str, ...] = ()
        self._needs: dict[str, tuple[str, ...]] = {}
        self._feeds: dict[str, QueueFeed] = {}
        self._most: dict[str, int] = {}
        self._shared_at = -RESHARE
        self._turn = 0
        self._bell = asyncio.Event()
        self._deadlines = Deadlines()
        self._late: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    # Connecting

    async def open(self) -> None:
        """Connect; raise StoreError, for a login or a virtual host with the fix."""
        if self._client is None:
            await self._connect()

    async def close(self) -> None:
        """Wait shortly for confirms, return what was delivered and not settled, and disconnect."""
        await self._stop_consuming()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connect(self) -> None:
        client = AmqpClient(self._address)
        try:
            await client.open()
        except BaseException:
            await client.close()
            raise
        self._client, self._publisher = client, JobPublisher(client)

    async def _stop_consuming(self) -> None:
        """Return what was delivered and did not run; what is held and not settled within a moment goes back too."""
        if self._keeper is not None:
            await cancel(self._keeper)
            self._keeper = None
        for feed in self._feeds.values():
            feed.consumer.set_prefetch(0)
            self._return(feed)
        if self._late:
            await asyncio.wait(self._late, timeout=_LAST_CALL)
            await cancel(*self._late)
        for feed in self._feeds.values():
            await feed.close()
        self._feeds.clear()

    @property
    def _opened(self) -> AmqpClient:
        if self._client is None:
            raise StoreUnavailable(f"{self._address.shown} is not open")
        return self._client

    async def declare(self, topology: Topology) -> None:
        """Make the queues with those of their dead letters; raise ConfigurationError for one with other arguments."""
        await self._beat_for(topology.longest_run)
        for queue in topology.queues:
            await declare_queue(self._opened.declarations, queue.name, self._address)
            self._needs[queue.name] = queue.needs
        self._queues = tuple(dict.fromkeys((*self._queues, *(queue.name for queue in topology.queues))))

    async def _beat_for(self, longest_run: float) -> None:
        """Connect again with a heartbeat as long as the longest run, unless it is that long or jobs are delivered."""
        least, most = HEARTBEATS
        heartbeat = int(min(most, max(least, longest_run)))
        if self._keep_heartbeat or heartbeat == self._address.heartbeat or self._feeds:
            return
        self._address = structs.replace(self._address, heartbeat=heartbeat)
        await self._opened.close()
        await self._connect()

    # Publishing

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Publish with confirms. Raise ConfigurationError, with nothing sent, for an option that it cannot keep."""
        check_messages(messages, FEATURES, self._address.shown)
        for message in messages:
            if message.headers and (taken := RESERVED.intersection(message.headers)):
                raise ConfigurationError(f"headers: {min(taken)!r} is a name of Outlast's own: give another one")
        now, limit = self._clock.time(), self.capabilities.max_body
        answers: list[Published] = [ACCEPTED] * len(messages)
        sent: list[int] = []
        for place, message in enumerate(messages):
            size = len(bytes(message.args))
            if size > limit:
                answers[place] = TooLarge(size, limit)
            else:
                sent.append(place)
        self._opened  # noqa: B018 - raises
        assert self._publisher is not None
        form = [first(messages[place], now, self._rng) for place in sent]
        for place, told in zip(sent, await self._publisher.publish(form, _PUBLISH), strict=True):
            if told.outcome == "nacked":
                answers[place] = Full(_FULL_RETRY)
            elif told.outcome != "confirmed":
                raise self._unkept(told, len(messages))
        return answers

    def _unkept(self, told: Publishing, number: int) -> StoreError:
        text = f"{self._address.shown}: {told.why or 'a queue that was just made is not there'}"
        return StoreUnavailable(text) if told.outcome == "unsent" and number == 1 else StoreUncertain(text)

    # Delivering

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out what the server has delivered; consume the queues of `demand` from the first claim on.

        Raise StoreUnavailable if none of the queues is consumed, after the wait.
        """
        await self._attend(demand, limit)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            self._bell.clear()
            given = self._take(demand, limit)
            left = until - loop.time()
            if given:
                return given
            if left <= 0:
                break
            with contextlib.suppress(TimeoutError), self._deadlines.within(left):
                await self._bell.wait()
        failing = [self._feeds[queue].failing for queue in wanted(demand)]
        if failing and all(failing):
            raise StoreUnavailable(f"{self._address.shown}: {failing[0]}")
        return []

    async def _attend(self, demand: Mapping[str, int], limit: int) -> None:
        """Consume these queues, each with its share of the slots."""
        now = self._clock.monotonic()
        if self._keeper is None:
            await declare_buckets(self._opened.declarations, DELAYS, self._address)
            self._keeper = asyncio.create_task(self._keep(), name="outlast rabbitmq keeper")
        held = 0
        for queue, feed in self._feeds.items():
            held += len(feed.held)
            if queue not in demand:
                feed.consumer.set_prefetch(0)
        slots = held + limit
        changed = False
        for queue, more in demand.items():
            known = self._feeds.get(queue)
            changed = changed or known is None or (more > 0 and not known.consumer.prefetch)
            self._most[queue] = max(self._most.get(queue, 1), more + (len(known.held) if known is not None else 0))
            if known is not None and more:
                known.asked_at = now
        if not changed and now - self._shared_at < RESHARE:
            return
        self._share(slots, demand, now)

    def _share(self, slots: int, demand: Mapping[str, int], now: float) -> None:
        busy = [queue for queue in demand if queue in self._feeds and self._feeds[queue].full]
        shares = shares_of(slots, {queue: self._most[queue] for queue in demand}, busy)
        for queue, share in shares.items():
            feed = self._feeds.get(queue)
            if feed is None:
                feed = self._feeds[queue] = QueueFeed(
                    self._opened, queue, share, on_ready=self._ready(queue), arrived=self._bell.set
                )
                feed.asked_at = now
            elif demand[queue] or feed.consumer.prefetch:
                feed.consumer.set_prefetch(share)
            feed.full = feed.outstanding >= share
        self._most = dict.fromkeys(demand, 1)
        self._shared_at = now

    def _ready(self, queue: str) -> Any:
        async def declare(to: AmqpDeclarations) -> None:
            try:
                await declare_queue(to, queue, self._address)
            except ConfigurationError as error:
                raise StoreUnavailable(str(error)) from None

        return declare

    def _take(self, demand: Mapping[str, int], limit: int) -> list[Delivery]:
        """Take from the queues, each claim from another one first."""
        queues = wanted(demand)
        given: list[Delivery] = []
        now = self._clock.time()
        for turn in range(len(queues)):
            queue = queues[(self._turn + turn) % len(queues)]
            feed = self._feeds[queue]
            most = min(demand[queue], limit - len(given))
            if most <= 0 or not feed.waiting:
                continue
            taken = feed.take(most, now, self._new_id)
            given += taken.jobs
            if taken.malformed:
                more = f" (and {len(taken.malformed) - 1} more)" if len(taken.malformed) > 1 else ""
                text = "queue %r: a message is no job and becomes a dead letter: %s%s"
                _logger.error(text, queue, taken.malformed[0][1], more)
            if taken.malformed or taken.early:
                letters = [(delivery, _letter(queue, delivery, why)) for delivery, why in taken.malformed]
                waits = [(each.delivery, again(each.job, each.job.not_before, now, self._rng)) for each in taken.early]
                self._publish_late([DueMessages(feed, [sent], delivery) for delivery, sent in (*letters, *waits)])
        self._turn += 1
        return given

    def _new_id(self, queue: str) -> str:
        return self._ids.new(queue, self._clock.time(), self._rng.getrandbits(62))

    # Settling

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Publish what the settlements need, confirmed, then acknowledge. An acknowledgement counts when it is written.

        While the server does not confirm, it waits a second; the jobs stay held, and are settled later.
        """
        lost: list[Lost] = []
        due: list[DueMessages[QueueFeed]] = []
        acks: dict[str, list[int]] = {}
        back: dict[str, list[int]] = {}
        now = self._clock.time()
        fences = {}
        for settlement in settlements:
            fence = settlement.fence
            feed = self._feeds.get(fence.queue)
            held = None if feed is None else feed.held.get(fence.token)
            if feed is None or held is None:
                if feed is None or feed.was_lost(fence.token):
                    lost.append(Lost(fence, "superseded"))
                continue
            fences[fence.token] = fence
            plan = plan_of(settlement, held.job, now, self._rng)
            if plan.messages:
                due.append(DueMessages(feed, plan.messages, held.delivery, fence.token))
            else:
                (back if plan.requeue else acks).setdefault(fence.queue, []).append(fence.token)
        for queue, tokens in acks.items():
            lost += [Lost(fences[token], "superseded") for token in self._feeds[queue].settled(tokens)]
        for queue, tokens in back.items():
            lost += [Lost(fences[token], "superseded") for token in self._feeds[queue].settled(tokens, requeue=True)]
        if due:
            publishing = self._publish_late(due)
            await asyncio.wait((publishing,), timeout=_SETTLE)
            if publishing.done():
                publishing.result()  # raises for a message that cannot be encoded
            lost += [Lost(fences[each.token], "superseded") for each in due if each.feed.was_lost(each.token)]
        return lost

    def _publish_late(self, due: Sequence[DueMessages[QueueFeed]]) -> asyncio.Task[None]:
        """Publish, then acknowledge, in a task of its own, which is not given up before `close`."""
        assert self._publisher is not None
        return self._beside(publish_then_settle(due, self._publisher, _acknowledge, self._rng))

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="outlast rabbitmq settling")
        self._late.add(task)
        task.add_done_callback(self._late_ended)
        return task

    def _late_ended(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a settlement failed, its job runs again when its connection ends", exc_info=error)

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Do nothing: the connection holds the jobs."""
        return []

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Raise ConfigurationError: nothing here keeps notes."""
        if notes:
            check_feature("progress", "progress", FEATURES, self._address.shown)
        return []

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Stop consuming, if it did: the server makes the jobs ready again. It counts none of them."""
        await self._stop_consuming()
        return 0

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Return what the server tells: ready jobs, dead letters, consumers; of running jobs, those held here."""
        found = await counts_of(self._opened.declarations, queues or self._queues)
        return {
            queue: structs.replace(
                counts,
                running=(held := len(self._feeds[queue].held) if queue in self._feeds else 0),
                depth=counts.ready + held,
                needs=self._needs.get(queue, ()),
            )
            for queue, counts in found.items()
        }

    # Keeping

    async def _keep(self) -> None:
        """Give back what no claim asks for, and make queues of dead letters again that were deleted."""
        looked = self._clock.monotonic()
        while True:
            await asyncio.sleep(_KEEP_EVERY)
            now = self._clock.monotonic()
            for feed in self._feeds.values():
                if feed.waiting and now - feed.asked_at > _IDLE:
                    feed.consumer.set_prefetch(0)
                    self._return(feed)
            if now - looked >= _DEAD_EVERY:
                looked = now
                with contextlib.suppress(StoreError, ConfigurationError):  # the consumer of the queue tells of it
                    for queue in list(self._feeds):
                        await declare_queue(self._opened.declarations, queue, self._address)

    def _return(self, feed: QueueFeed) -> None:
        """Return what was delivered and not handed out, so that no job becomes suspect by returns alone."""
        deliveries = feed.give_back()
        if not deliveries:
            return
        now = self._clock.time()
        plain: list[AmqpDelivery] = []
        due: list[DueMessages[QueueFeed]] = []
        for delivery in deliveries:
            job = feed.read(delivery, now, self._new_id)
            if job is None or may_requeue(job):
                plain.append(delivery)
            else:
                due.append(DueMessages(feed, [again(job, now, now, self._rng)], delivery))
        feed.drop(plain, requeue=True)
        if due:
            self._publish_late(due)


def _letter(queue: str, delivery: AmqpDelivery, why: str) -> AmqpMessage:
    return AmqpMessage("", dead_queue(queue), delivery.body, kept_properties(delivery, why))


def _acknowledge(due: Sequence[DueMessages[QueueFeed]]) -> None:
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
