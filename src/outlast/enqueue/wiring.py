"""How an app's declarations, its settings, a clock and a store become a Composer and Runtimes, on first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from outlast.brokers.registry import kind_of
from outlast.core.clock import Clock
from outlast.core.durability import Durability
from outlast.core.errors import StoreUnavailable
from outlast.core.events import Observers
from outlast.core.ids import IdFactory
from outlast.core.message import Message
from outlast.core.registry import Registry
from outlast.core.settlement import Accepted, Exists, Published
from outlast.core.store.store import Store
from outlast.declare.arguments import Arguments
from outlast.enqueue.composer import Composer, shared_rng
from outlast.enqueue.connections import Connections
from outlast.enqueue.runtime import Runtime
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.enqueue.spool import Spool

__all__ = ["Wiring", "wire"]


def wire(composer: Composer, store: Store, observers: Observers | None = None) -> Runtime:
    """Join what an app declared and one store, opened or not."""
    return Runtime(
        app_name=composer.app_name,
        settings=composer.settings,
        registry=composer.registry,
        clock=composer.clock,
        rng=composer.rng,
        ids=composer.ids,
        arguments=composer.arguments,
        store=store,
        observers=Observers() if observers is None else observers,
    )


class Wiring:
    """One way to run an app: the store that its settings name, or one that a test put in its place."""

    def __init__(
        self,
        app_name: str,
        *,
        settings: Settings,
        registry: Registry,
        arguments: Mapping[str, Arguments],
        observers: Observers,
        clock: Clock,
        connect: Callable[[Settings, Clock], Store],
    ) -> None:
        composer = Composer(
            app_name=app_name,
            settings=settings,
            registry=registry,
            clock=clock,
            rng=shared_rng,
            ids=IdFactory(),
            arguments=arguments,
        )
        self.composer: Final = composer
        self.connections: Final = Connections(
            registry, lambda: self._connect(connect), lambda store: wire(composer, store, observers)
        )
        spooled = settings.spool and not kind_of(settings.url).in_process
        self.spool: Final = self._make_spool(settings) if spooled else None

    def _connect(self, connect: Callable[[Settings, Clock], Store]) -> Store:
        if self.spool is not None:
            self.spool.relay()  # what an earlier process has left
        return connect(self.composer.settings, self.composer.clock)

    def _make_spool(self, settings: Settings) -> Spool:
        from outlast.enqueue.spool import Spool

        return Spool(settings.spool, limit=settings.spool_limit, publish=self._relayed)

    def publish(self, messages: Sequence[Message]) -> Coroutine[Any, Any, tuple[list[Accepted | Exists], Durability]]:
        """Keep messages, in the store or in the spool; return the answers, and what they survive. As Runtime.publish.

        Connecting counts: past `enqueue_timeout` it raises StoreUnavailable, or EnqueueUnknown when they were sent.
        """
        if self.spool is not None:
            return self.spool.through(messages, lambda: self._publish(messages, quiet=True))
        return self._publish(messages)

    async def _publish(
        self, messages: Sequence[Message], *, quiet: bool = False
    ) -> tuple[list[Accepted | Exists], Durability]:
        runtime, left = self.connections.at_hand(), None
        if runtime is None:
            limit = self.composer.settings.enqueue_timeout
            begun = self.composer.clock.monotonic()
            try:
                async with asyncio.timeout(limit):
                    runtime = await self.connections.get()
            except TimeoutError:
                raise StoreUnavailable(f"the store could not be opened within {limit:g} s (enqueue_timeout)") from None
            left = max(0.0, limit - (self.composer.clock.monotonic() - begun))
        answers = await runtime.publish(messages, left, quiet=quiet)
        return answers, runtime.store.broker.capabilities.durability

    async def _relayed(self, messages: Sequence[Message]) -> list[Published]:
        """Hand spooled messages to the store, which may know them already; tell observers of those it did not."""
        runtime = await self.connections.get()
        async with asyncio.timeout(self.composer.settings.enqueue_timeout):
            answers = await runtime.store.broker.publish(messages)
        if runtime.observers:
            runtime.emit_published(messages, answers)
        return answers

    async def close(self) -> None:
        """Close what the running loop has open."""
        if self.spool is not None:
            await self.spool.close()
        await self.connections.close()
