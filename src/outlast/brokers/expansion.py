"""Publishes events on a store that keeps the bindings as rows: expands them by bindings that the store checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from weakref import WeakKeyDictionary

from outlast.core.errors import ConfigurationError, StoreError, StoreUncertain
from outlast.core.exchanges.copies import Copies, copies_of
from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Bindings, ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import Published

__all__ = ["MOST_COPIES", "Expansion"]

MOST_COPIES = 500
"""Copies that are stored in one step, unless one event alone has more: the step stops the other calls of the store."""


class Expansion:
    """The bindings of a store as this process knows them, and the publishing of events by them.

    load: reads all bindings. store(version, messages): keeps the messages if the store's bindings still have this
    version, in one step where the store is one place, and returns its answers; else returns None.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Bindings]],
        store: Callable[[int, Sequence[Message]], Awaitable[list[Published] | None]],
    ) -> None:
        self._load = load
        self._store = store
        self._known: _Routing | None = None
        self._reads = 0
        """The reads of the bindings that have begun, counted."""
        self._reading: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        """By loop: a store that is shared by several loops has one Expansion."""

    async def publish(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep the copies of the events; the answers align with the events.

        Raise ConfigurationError, with nothing stored, for an exchange that the store does not know, and StoreUncertain
        if some of the events are stored and an error ended the rest.
        """
        routing = await self._checked(events)
        routed: list[Routed] = []
        while len(routed) < len(events):
            try:
                batch = routing.expanded(events[len(routed) :])
                messages = [message for copies in batch for message in copies.messages]
                answers = await self._store(routing.version, messages)
                if answers is None:
                    routing = await self._read_after(routing.read)
            except (StoreError, ConfigurationError) as error:  # an exchange may be removed meanwhile
                if not routed:
                    raise
                raise StoreUncertain(f"of {len(events)} events the first {len(routed)} are kept: {error}") from error
            if answers is not None:
                rest = iter(answers)
                routed += [copies.routed(islice(rest, len(copies.messages))) for copies in batch]
        return routed

    async def _checked(self, events: Sequence[ExchangeEvent]) -> _Routing:
        """Return the bindings that are known, read again if they lack an exchange; raise ConfigurationError."""
        if self._known is not None:
            with suppress(ConfigurationError):
                self._known.check(events)
                return self._known
        routing = await self._read_after(self._reads)  # an earlier one may have begun before it was declared
        routing.check(events)
        return routing

    async def _read_after(self, read: int) -> _Routing:
        """Return the bindings of a later read than this one: one for all calls that ask for it.

        All calls of a process find a change at the same time, and to compile 1,000 bindings takes 0.01 s.
        """
        async with self._reading.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            known = self._known
            if known is not None and known.read > read:
                return known
            self._reads = number = self._reads + 1
            bindings = await self._load()
            self._known = routing = _Routing(bindings.version, number, await _compiled(bindings))
            return routing


async def _compiled(bindings: Bindings) -> Router:
    """Compile the bindings; between two steps the loop does what else it has to do."""
    steps = Router.in_steps(bindings.exchanges, bindings.bindings)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            router: Router = done.value
            return router
        await asyncio.sleep(0)


class _Routing:
    """One version of the bindings, compiled. read: the number of the read that they are of."""

    def __init__(self, version: int, read: int, router: Router) -> None:
        self.version = version
        self.read = read
        self._router = router

    def check(self, events: Sequence[ExchangeEvent]) -> None:
        """Raise ConfigurationError for an exchange that is not known."""
        for name in {event.exchange for event in events}:
            self._router.exchange(name)

    def expanded(self, events: Sequence[ExchangeEvent]) -> list[Copies]:
        """Return the copies of as many of the events as one step stores, at least of one."""
        batch: list[Copies] = []
        count = 0
        for event in events:
            bindings = self._router.route(event.exchange, event.key, event.headers)
            keep = self._router.exchange(event.exchange).unroutable == "keep"
            copies = copies_of(event, bindings, keep=keep)
            count += len(copies.messages)
            if batch and count > MOST_COPIES:
                break
            batch.append(copies)
        return batch
