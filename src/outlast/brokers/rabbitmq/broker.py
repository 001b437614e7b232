"""The broker on RabbitMQ: publishes jobs with confirms, hands out what the server delivers, settles by native acks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count
from random import Random
from typing import Final, NamedTuple

from msgspec import structs

from outlast.brokers.rabbitmq.consumption import Consumption
from outlast.brokers.rabbitmq.counts import counts_of
from outlast.brokers.rabbitmq.declared import make_queues
from outlast.brokers.rabbitmq.exchanges import RabbitExchanges
from outlast.brokers.rabbitmq.job_form import RESERVED
from outlast.brokers.rabbitmq.late import DueMessages
from outlast.brokers.rabbitmq.offered import FEATURES
from outlast.brokers.rabbitmq.publishing import NOWHERE, JobPublisher
from outlast.brokers.rabbitmq.settling import first, plan_of
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import why_unsendable
from outlast.clients.amqp.table import TableError
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreUnavailable, StoreUncertain
from outlast.core.message import Delivery, Fence, Holder, Message
from outlast.core.settlement import ACCEPTED, Full, Lost, Note, Published, Settlement, TooLarge
from outlast.core.store.broker import Capabilities, QueueStats
from outlast.core.store.features import Features, check_feature, check_messages
from outlast.core.topology import Topology

__all__ = ["RabbitBroker"]

HEARTBEATS: Final = (30, 600)
"""The shortest and the longest heartbeat in seconds. A run that blocks the event loop lets heartbeats fail, so they are
as long as the longest run; a machine without power is noticed after two of them."""
_PUBLISH: Final = 30.0
"""Seconds of one publish at most; the caller has a deadline of its own."""
_SETTLE: Final = 1.0
"""Seconds for which `settle` waits for the confirms of what it publishes; after that they are awaited beside it."""
_FULL_RETRY: Final = 5.0


class _Connection(NamedTuple):
    """What there is between `open` and `close`."""

    client: AmqpClient
    publisher: JobPublisher
    consumption: Consumption


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
        features: Features = FEATURES,
        rng: Random | None = None,
    ) -> None:
        self.capabilities: Final = Capabilities(
            durability="os-crash",
            max_body=max_body,
            shared=True,
            leases=False,
            longest_run=longest_run,
            features=features,
        )
        self._address = address
        self._clock = clock
        self._keep_heartbeat = keep_heartbeat
        self._rng = rng or Random()  # noqa: S311 - spreads delays and names, guards nothing
        self.exchanges: Final = RabbitExchanges(lambda: self._connected.client, max_body=max_body, rng=self._rng)
        self._tokens = count(1)
        self._connection: _Connection | None = None
        self._queues: dict[str, tuple[str, ...]] = {}
        """The declared queues, with the guards that each needs."""

    # Connecting

    async def open(self) -> None:
        """Connect; raise StoreError, for a login or a virtual host with the fix."""
        if self._connection is None:
            await self._connect()

    async def close(self) -> None:
        """Wait shortly for confirms, return what was delivered and not settled, and disconnect."""
        await self.exchanges.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.consumption.stop()
            await connection.client.close()

    async def _connect(self) -> None:
        client = AmqpClient(self._address)
        try:
            await client.open()
        except BaseException:
            await client.close()
            raise
        publisher = JobPublisher(client)
        consumption = Consumption(
            client,
            publisher,
            clock=self._clock,
            rng=self._rng,
            max_body=self.capabilities.max_body,
            tokens=self._tokens,
            exchanges=self.exchanges,
        )
        self._connection = _Connection(client, publisher, consumption)

    @property
    def _connected(self) -> _Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self._address.shown} is not open")
        return self._connection

    async def declare(self, topology: Topology) -> None:
        """Make the queues with those of their dead letters, the exchanges and the bindings.

        Raise ConfigurationError for what exists with other settings.
        """
        await self._beat_for(topology.longest_run)
        names = [queue.name for queue in topology.queues]
        await make_queues(self._connected.client.declarations, names, self._address)
        self._queues |= {queue.name: queue.needs for queue in topology.queues}
        await self.exchanges.declare_now(topology)

    async def _beat_for(self, longest_run: float) -> None:
        """Before the first declaration, connect again with a heartbeat as long as the longest run."""
        least, most = HEARTBEATS
        heartbeat = int(min(most, max(least, longest_run)))
        if self._keep_heartbeat or heartbeat == self._address.heartbeat or self._queues:
            return
        known, used = self._address, self._connected
        self._address = structs.replace(known, heartbeat=heartbeat)
        try:
            await self._connect()
        except BaseException:
            self._address = known  # the next declaration tries again
            raise
        await used.client.close()

    # Publishing

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Publish with confirms. Raise ConfigurationError, with nothing sent, for an option that it cannot keep."""
        check_messages(messages, self.capabilities.features, self._address.shown)
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
        form = [first(messages[place], now, self._rng) for place in sent]
        try:
            told = await self._connected.publisher.publish(form, _PUBLISH)
        except TableError:
            for place, unsent in zip(sent, form, strict=True):
                if why := why_unsendable(unsent):
                    raise ConfigurationError(f"job {messages[place].kind!r} cannot be sent: {why}") from None
            raise
        for place, each in zip(sent, told, strict=True):
            if each.outcome == "nacked":
                answers[place] = Full(_FULL_RETRY)
            elif each.never:
                error = ConfigurationError(f"job {messages[place].kind!r} cannot be sent: {each.why}")
                # Who is told that nothing is known sends all of them again, and the server keeps those twice.
                kept = {at for at, one in zip(sent, told, strict=True) if one.outcome == "confirmed"}
                error.stored = tuple(messages[at].id for at in sorted(kept))
                error.unstored = tuple(message for at, message in enumerate(messages) if at not in kept)
                raise error
            elif each.outcome != "confirmed":
                text = f"{self._address.shown}: {each.why or 'a queue that was just made is not there'}"
                raise (StoreUnavailable if all(one.outcome in NOWHERE for one in told) else StoreUncertain)(text)
        return answers

    # Delivering

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out what the server has delivered; consume the queues of `demand` from the first claim on.

        Raise StoreUnavailable if none of the queues is consumed, after the wait.
        """
        return await self._connected.consumption.claim(demand, limit, wait)

    # Settling

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Publish what the settlements need, confirmed, then acknowledge. An acknowledgement counts when it is written.

        While the server does not confirm, it waits a second; the jobs stay held, and are settled later.
        """
        consumption = self._connected.consumption
        feeds = consumption.feeds
        lost: list[Lost] = []
        due: list[DueMessages] = []
        acks: dict[str, list[int]] = {}
        back: dict[str, list[int]] = {}
        now = self._clock.time()
        fences: dict[int, Fence] = {}
        for settlement in settlements:
            fence = settlement.fence
            feed = feeds.get(fence.queue)
            held = None if feed is None else feed.held.get(fence.token)
            if feed is None or held is None:
                if feed is None or feed.was_lost(fence.token):
                    lost.append(Lost(fence, "superseded"))
                continue
            if fence.token in feed.late:
                continue
            fences[fence.token] = fence
            plan = plan_of(settlement, held.job, now, self._rng)
            if plan.messages:
                due.append(DueMessages(feed, plan.messages, held.delivery, fence.token))
            else:
                (back if plan.requeue else acks).setdefault(fence.queue, []).append(fence.token)
        for queue, tokens in acks.items():
            lost += [Lost(fences[token], "superseded") for token in feeds[queue].settled(tokens)]
        for queue, tokens in back.items():
            lost += [Lost(fences[token], "superseded") for token in feeds[queue].settled(tokens, requeue=True)]
        if due:
            publishing = consumption.publish_late(due)
            await asyncio.wait((publishing,), timeout=_SETTLE)
            if publishing.done():
                publishing.result()  # raises what nothing here foresees
            lost += [Lost(fences[each.token], "superseded") for each in due if each.feed.was_lost(each.token)]
            if not publishing.done():
                for each in due:
                    each.feed.late |= each.feed.held.keys() & {each.token}
        return lost

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Do nothing: the connection holds the jobs."""
        return []

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Raise ConfigurationError: nothing here keeps notes."""
        if notes:
            check_feature("progress", "progress", self.capabilities.features, self._address.shown)
        return []

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Stop consuming, if it did: the server makes the jobs ready again. It counts none of them."""
        if self._connection is not None:
            await self._connection.consumption.stop()
        return 0

    async def ask(self) -> None:
        """Ask the server for what it always has: for a queue that is not there it would write an error into its log."""
        await self._connected.client.declarations.find_exchange("amq.direct")

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Return what the server tells: ready jobs, dead letters, consumers; of running jobs, those held here."""
        connected = self._connected
        feeds = connected.consumption.feeds
        found = await counts_of(connected.client.declarations, queues or tuple(self._queues))
        for queue, counts in found.items():
            held = len(feeds[queue].held) if queue in feeds else 0
            needs = self._queues.get(queue, ())
            found[queue] = structs.replace(counts, running=held, depth=counts.ready + held, needs=needs)
        return found
