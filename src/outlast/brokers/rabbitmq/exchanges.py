"""Exchanges that RabbitMQ routes: declared there, published to with confirms; other clients publish and bind too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from outlast.brokers.rabbitmq.event_form import EventReader, event_message
from outlast.brokers.rabbitmq.native import declare_all
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.confirms import AmqpMessage, Publishing
from outlast.clients.amqp.errors import ACCESS_REFUSED, NOT_ALLOWED, NOT_FOUND, PRECONDITION_FAILED, AmqpRefused
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, StoreUnavailable, StoreUncertain
from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed
from outlast.core.ids import IdFactory
from outlast.core.store.exchanges import Exchanges
from outlast.core.topology import Topology

__all__ = ["RabbitExchanges"]

_logger = logging.getLogger("outlast.rabbitmq")
_PUBLISH: Final = 60.0
"""Seconds of one publish at most; the caller has a deadline of its own."""
_OF_URL: Final = "url: "
"""The begin of an error of the client about its address."""


class RabbitExchanges:
    """The exchanges of one app on one server, for one event loop.

    client: returns the client, or raises StoreUnavailable. rows: keeps what was declared, since AMQP lists neither
    exchanges nor bindings; None: only this process knows them. reader: makes copies of what comes to bound queues.
    """

    def __init__(
        self, client: Callable[[], AmqpClient], *, max_body: int, rng: Random, rows: Exchanges | None = None
    ) -> None:
        self.topology = Topology()
        self._client = client
        self._rows = rows
        self._setting = "url (Settings or OUTLAST_URL)" if rows is None else "amqp_url (Settings or OUTLAST_AMQP_URL)"
        self._max_body = max_body
        self._rng = rng
        self._ids = IdFactory()
        self._attempt: asyncio.Task[None] | None = None
        self._refused = ""
        """What was logged last of a refused declaration."""
        self._declared = True
        self.reader = self._reader()

    @property
    def client(self) -> AmqpClient:
        """The client."""
        return self._client()

    def _reader(self) -> EventReader:
        topology = self.topology
        return EventReader(topology.exchanges, topology.bindings, max_body=self._max_body, new_id=self._new_id)

    def _new_id(self, now: float) -> str:
        return self._ids.new_event(now, self._rng.getrandbits(62))

    async def declare(self, topology: Topology, patience: float) -> None:
        """Declare all exchanges, the bound queues and their bindings.

        Raise ConfigurationError for what exists with other settings, for a login, a virtual host or a permission. While
        the server is away, or for longer than `patience` seconds, go on without it: it is declared before the next
        event is published, and each queue before it is consumed.
        """
        await self._begin(topology)
        try:
            if self._declared:
                return
            await asyncio.wait_for(asyncio.shield(self._declaring()), patience)
        except (StoreError, TimeoutError) as error:
            why = str(error) or f"no answer from {self.client.address.shown} within {patience:g} s"
            _logger.warning("the exchanges are declared when RabbitMQ is back, jobs go on: %s", why)

    async def declare_now(self, topology: Topology) -> None:
        """Declare all of it; raise ConfigurationError as `declare`, StoreError while the server is away."""
        await self._begin(topology)
        await self._ensure()

    def declare_again(self) -> None:
        """Begin to declare all of it once more: who deletes an exchange deletes its bindings, and tells no consumer."""
        if self.topology.exchanges or self.topology.bindings:
            self._declaring()

    async def _begin(self, topology: Topology) -> None:
        if self._attempt is not None:
            await asyncio.wait((self._attempt,))  # of another topology
        self.topology = topology
        self.reader = self._reader()
        self._declared = not (topology.exchanges or topology.bindings)

    async def bindings(self) -> Bindings:
        """Return what apps have declared. Bindings that other clients made on the server are not known here."""
        if self._rows is not None:
            return await self._rows.bindings()
        return Bindings(1, self.topology.exchanges, self.topology.bindings)

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Publish the events; the server routes them, and confirms each when all queues that it is for have it.

        Raise StoreUncertain when some may have been accepted, StoreUnavailable when none was, ConfigurationError for an
        exchange that the server does not know. Repeating an event publishes it again, and its copies are the same jobs.
        """
        if not events:
            return []
        await self._ensure()
        messages = [event_message(each) for each in events]
        answers = await self.client.publish(messages, _PUBLISH)
        again = [place for place, answer in enumerate(answers) if self._lacks(events[place], answer)]
        if again:
            await self._publish_again(messages, answers, again)
        routed = [self._routed(event, answer) for event, answer in zip(events, answers, strict=True)]
        errors = [each for each in routed if isinstance(each, OutlastError)]
        if not errors:
            return [each for each in routed if isinstance(each, Routed)]
        if len(errors) < len(events) and not isinstance(errors[0], ConfigurationError):
            raise StoreUncertain(f"{len(errors)} of {len(events)} events: {errors[0]}")
        raise errors[0]

    async def _publish_again(
        self, messages: Sequence[AmqpMessage], answers: list[Publishing], places: Sequence[int]
    ) -> None:
        """Declare what was deleted, and publish these messages again."""
        self._declared = False
        try:
            await self._ensure()
        except OutlastError as error:
            if all(answer.outcome in ("returned", "unsent") for answer in answers):
                raise
            raise StoreUncertain(f"{len(places)} of {len(messages)} events: {error}") from None
        new = await self.client.publish([messages[place] for place in places], _PUBLISH)
        for place, answer in zip(places, new, strict=True):
            answers[place] = answer

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings, and exchanges that nothing is bound to; one with bindings of other clients stays."""
        to = self.client.declarations
        for each in bindings:
            try:
                await to.unbind_queue(each.queue, each.exchange, each.key, each.arguments)
            except AmqpRefused as error:
                if error.code != NOT_FOUND:
                    raise
        gone: list[str] = []
        for name in exchanges:
            try:
                await to.delete_exchange(name, if_unused=True)
                gone.append(name)
            except AmqpRefused as error:
                if error.code != PRECONDITION_FAILED:
                    raise
        return len(bindings) + len(gone) if self._rows is None else await self._rows.unbind(bindings, gone)

    async def _ensure(self) -> None:
        """Declare what is not declared yet; raise StoreError, ConfigurationError."""
        if not self._declared:
            await asyncio.shield(self._declaring())

    def _declaring(self) -> asyncio.Task[None]:
        """Return the one attempt to declare: it goes on when a caller does not wait for it any more."""
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._declare(), name="outlast exchanges")
            self._attempt.add_done_callback(self._ended)
        return self._attempt

    async def _declare(self) -> None:
        address = self.client.address
        try:
            await self.client.open()
            await declare_all(self.client.declarations, self.topology, address)
        except AmqpRefused as error:
            if error.code in (ACCESS_REFUSED, NOT_ALLOWED) and " is down" not in error.text:
                raise ConfigurationError(f"{self._setting}: {error}") from None
            raise
        except ConfigurationError as error:
            if (problem := str(error)).startswith(_OF_URL):  # a file of TLS
                raise ConfigurationError(f"{self._setting}: {problem.removeprefix(_OF_URL)}") from None
            raise
        self._declared = True

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempt = None
        if attempt.cancelled():
            return
        error = attempt.exception()
        if error is None:
            self._refused = ""
        elif isinstance(error, ConfigurationError) and str(error) != self._refused:  # it is tried each minute
            self._refused = str(error)
            _logger.error("not all exchanges and queues can be declared: %s", error)

    async def close(self) -> None:
        """End an attempt to declare."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait((self._attempt,))

    def _lacks(self, event: ExchangeEvent, answer: Publishing) -> bool:
        """Tell whether the exchange, or the queue that keeps what no binding takes, was deleted."""
        return answer.code == NOT_FOUND or (answer.outcome == "returned" and self._keeps(event.exchange))

    def _keeps(self, exchange: str) -> bool:
        return any(each.name == exchange and each.unroutable == "keep" for each in self.topology.exchanges)

    def _routed(self, event: ExchangeEvent, answer: Publishing) -> Routed | OutlastError:
        """Return what became of an event, or the error to raise for it."""
        where = self.client.address.shown
        if answer.outcome == "confirmed":
            return Routed(native=True)
        if answer.outcome == "returned" and not self._keeps(event.exchange):
            return Routed()
        if answer.code == NOT_FOUND:
            return ConfigurationError(
                f"exchange {event.exchange!r} is not declared at {where}: declare it with app.exchange(...)"
            )
        if answer.never:
            return ConfigurationError(f"an event of exchange {event.exchange!r} at {where}: {answer.why}")
        if answer.outcome == "unsent":
            return StoreUnavailable(f"{where}: {answer.why}")
        return StoreUncertain(f"{where}: {answer.why}")
