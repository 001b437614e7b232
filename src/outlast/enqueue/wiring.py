"""Connect an app's declarations, settings and clock to a store: `wire` makes a Runtime, `Wiring` one per event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast.aio.portal import has_short_loops, portal
from outlast.brokers.registry import find_kind
from outlast.core.clock import Clock
from outlast.core.durability import Durability
from outlast.core.errors import EnqueueUnknown, StoreError, StoreUnavailable
from outlast.core.events import Event, JobRefused, Observers, trace_of
from outlast.core.exchanges.values import ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import Accepted, Exists
from outlast.core.store.store import Store
from outlast.core.tracing import Tracer
from outlast.enqueue.composer import Composer
from outlast.enqueue.connections import Connections
from outlast.enqueue.metrics import EnqueueCounts
from outlast.enqueue.notify import notify
from outlast.enqueue.runtime import Runtime
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.declare.value_forms import JsonForms
    from outlast.enqueue.spool import Spool
    from outlast.resilience.link import GuardLink
    from outlast.toolkit.access import Toolkit

__all__ = ["Wiring", "wire"]

T = TypeVar("T")
_Stored = tuple[list[Accepted | Exists], Durability]


def wire(composer: Composer, store: Store, observers: Observers | None = None) -> Runtime:
    """Return the Runtime of an app on one store, open or not yet."""
    composed = {each.name: getattr(composer, each.name) for each in fields(Composer) if each.init}
    composed["given_claims"] = composer.claims
    return Runtime(**composed, store=store, observers=Observers() if observers is None else observers)


class Wiring:
    """One way to run an app: on the store of its settings, or on the store of a test."""

    def __init__(self, composer: Composer, observers: Observers, connect: Callable[[Settings, Clock], Store]) -> None:
        self.composer: Final = composer
        self.connections: Final = Connections(
            composer.registry, lambda: self._connect(connect), lambda store: wire(composer, store, observers)
        )
        self._observers = observers
        self.spool: Spool | None = None
        self._opened_in = ""
        """The working directory in which the connection of the portal's loop was opened."""
        settings = composer.settings
        kind = find_kind(settings.url)  # an unknown one is refused when the store is opened
        in_process = kind is not None and kind.in_process
        self._in_process = in_process
        # Of the first uses in two threads one is kept, without a lock: a fork would copy one that is held.
        self._guard_links: dict[None, GuardLink] = {}
        self._toolkits: dict[None, Toolkit] = {}
        self._begun_in = _folder()
        """The working directory when the settings were read."""
        if settings.spool and not in_process:
            from outlast.enqueue.relayed import Relayed
            from outlast.enqueue.spool import Spool

            publish, same_kind = Relayed(composer, self.connections).publish, composer.registry.same_kind
            self.spool = Spool(
                settings.spool,
                limit=settings.spool_limit,
                publish=publish,
                same_kind=same_kind,
                app=composer.app_name,
                queues=list(composer.registry.queues),
            )

    def _connect(self, connect: Callable[[Settings, Clock], Store]) -> Store:
        if self.spool is not None:
            self.spool.relay()  # an earlier process may have left jobs in the spool
        if self._guard_link is not None:
            self._guard_link.resume()  # the app may have been closed since guards were used
        return connect(self.composer.settings, self.composer.clock)

    @property
    def guard_link(self) -> GuardLink | None:
        """The link of the app's guards to other processes; None for a store that no other process can reach."""
        if self._guard_link is None and not self._in_process:
            from outlast.resilience.link import GuardLink  # an app without guards does not need it

            return self._guard_links.setdefault(None, GuardLink(self._guard_store))
        return self._guard_link

    @property
    def _guard_link(self) -> GuardLink | None:
        """The link, if it is made."""
        return self._guard_links.get(None)

    @property
    def toolkit(self) -> Toolkit:
        """The store of the app's toolkit; raise ConfigurationError if no URL leads to one."""
        found = self._toolkits.get(None)
        if found is not None:
            return found
        from outlast.toolkit.access import Toolkit  # an app without its pieces does not need it
        from outlast.toolkit.stores import toolkit_url

        settings = self.composer.settings
        url = toolkit_url(settings.toolkit_url, settings.url, folder=self._begun_in)
        made = Toolkit(url, clock=self.composer.clock, timeout=settings.toolkit_timeout)
        return self._toolkits.setdefault(None, made)

    @property
    def value_forms(self) -> JsonForms:
        """What makes the forms of values that the toolkit keeps, by their types."""
        from outlast.declare.value_forms import JsonForms  # imports pydantic, which declarations do not need

        return JsonForms()

    def emit(self, event: Event) -> None:
        """Notify the observers of an event that needs no store, in the calling thread."""
        notify(self._observers, event)

    async def _guard_store(self) -> Store:
        """Return the store of the portal's loop, for the link of the guards; raise StoreError, ConfigurationError."""
        if not self.connections.has_connection():
            portal().at_stop(self.close)
        return (await self.connections.get()).store

    def publish(self, messages: Sequence[Message]) -> Coroutine[Any, Any, _Stored]:
        """Store messages, or spool them; return the answers and their durability. Raise as Runtime.publish does.

        `enqueue_timeout` includes the time to connect: past it, raise StoreUnavailable, or EnqueueUnknown when the
        messages were sent.
        """
        tracing = self.composer.tracing
        if tracing is not None and messages and (tracer := tracing.tracer()) is not None:
            return self._publish_traced(tracer, messages)
        return self._publish_anywhere(messages)

    async def _publish_traced(self, tracer: Tracer, messages: Sequence[Message]) -> _Stored:
        with tracer.sending(messages) as sent:
            return await self._publish_anywhere(sent)

    def _publish_anywhere(self, messages: Sequence[Message]) -> Coroutine[Any, Any, _Stored]:
        if has_short_loops():
            return self._on_portal(lambda: self._publish_here(messages))
        return self._publish_here(messages)

    def publish_events(self, events: Sequence[ExchangeEvent]) -> Coroutine[Any, Any, tuple[list[Routed], Durability]]:
        """Store the copies of events; return what became of each and the durability. Raise as `publish` does.

        The spool does not keep events: while the store is away, they raise StoreUnavailable.
        """
        tracing = self.composer.tracing
        if tracing is not None and events and (tracer := tracing.tracer()) is not None:
            return self._publish_events_traced(tracer, events)
        return self._publish_events_anywhere(events)

    async def _publish_events_traced(
        self, tracer: Tracer, events: Sequence[ExchangeEvent]
    ) -> tuple[list[Routed], Durability]:
        with tracer.publishing(events) as sent:
            return await self._publish_events_anywhere(sent)

    def _publish_events_anywhere(
        self, events: Sequence[ExchangeEvent]
    ) -> Coroutine[Any, Any, tuple[list[Routed], Durability]]:
        if has_short_loops():
            return self._on_portal(lambda: self._publish_events(events))
        return self._publish_events(events)

    async def _on_portal(self, publish: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await portal().call(lambda: self._publish_kept(publish))

    async def _publish_kept(self, publish: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Publish in a child process of isolated runs: the store stays open for the next run of the process."""
        folder = _folder()
        if not self.connections.has_connection():
            portal().at_stop(self.close)
        elif folder != self._opened_in:  # of a run that changed it: a relative path leads elsewhere
            await self.connections.close()
        self._opened_in = folder
        try:
            return await publish()
        except (StoreError, EnqueueUnknown):
            await self.connections.close()  # the next run must not find a connection that this one has broken
            raise

    def _publish_here(self, messages: Sequence[Message]) -> Coroutine[Any, Any, _Stored]:
        if self.spool is not None:
            return self.spool.through(messages, lambda: self._publish(messages, quiet=True))
        return self._publish(messages)

    async def _publish(self, messages: Sequence[Message], *, quiet: bool = False) -> _Stored:
        runtime, remaining = self.connections.if_ready(), None
        if runtime is None:
            try:
                runtime, remaining = await self._opened_in_time()
            except StoreError:
                self._tell_refused(() if quiet else messages)
                raise
        answers = await runtime.publish(messages, remaining, quiet=quiet)
        return answers, runtime.store.broker.capabilities.durability

    def _tell_refused(self, messages: Sequence[Message]) -> None:
        """Count jobs for which the store could not be opened, and notify the observers of them."""
        EnqueueCounts(self.composer.app_name, self.composer.registry).failed(messages, "store")
        for message in messages:
            self.emit(JobRefused(message.id, message.queue, message.kind, "store", trace_of(message)))

    async def _publish_events(self, events: Sequence[ExchangeEvent]) -> tuple[list[Routed], Durability]:
        runtime, remaining = self.connections.if_ready(), None
        if runtime is None:
            runtime, remaining = await self._opened_in_time()
        routed = await runtime.publish_events(events, remaining)
        return routed, runtime.store.broker.capabilities.durability

    async def _opened_in_time(self) -> tuple[Runtime, float]:
        """Open the store within `enqueue_timeout`; return what is left of it, in seconds. Raise StoreUnavailable."""
        limit = self.composer.settings.enqueue_timeout
        begun = self.composer.clock.monotonic()
        try:
            async with asyncio.timeout(limit):
                runtime = await self._opened()
        except TimeoutError:
            raise StoreUnavailable(f"the store could not be opened within {limit:g} s (enqueue_timeout)") from None
        return runtime, max(0.0, limit - (self.composer.clock.monotonic() - begun))

    def _opened(self) -> Awaitable[Runtime]:
        """Open the store; outside the context of the run, where it stays open for others."""
        opening = self.connections.get()
        return asyncio.create_task(opening, context=Context()) if has_short_loops() else opening

    async def close(self) -> None:
        """Close the spool and the stores of the running loop; on the portal's loop also the link of the guards.

        What a worker uses stays open.
        """
        if self.spool is not None:
            await self.spool.close()
        on_portal = portal().loop is asyncio.get_running_loop()
        if self._guard_link is not None and on_portal:
            await self._guard_link.close()
        # The locks of a worker are renewed on the portal's loop.
        if not self.connections.has_worker(anywhere=on_portal):
            for toolkit in self._toolkits.values():
                await toolkit.close()
        await self.connections.close()

    async def close_unless_shared(self) -> None:
        """Close on the portal's loop, unless other loops use the app and its guards: the link there serves them all."""
        if self._guard_link is None or not self.connections.has_others():
            await self.close()


def _folder() -> str:
    """Return the working directory, "" when it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - a tenth of the time of Path.cwd
    except OSError:
        return ""
