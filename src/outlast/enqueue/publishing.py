"""The part of an app that publishes events, and that calls it from blocking code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from outlast.core.errors import OutlastError
    from outlast.core.exchanges.values import Exchange, ExchangeEvent
    from outlast.core.registry import Registry
    from outlast.declare.options import EventOptions
    from outlast.enqueue.published import PublishedEvent
    from outlast.enqueue.runtime import Runtime
    from outlast.enqueue.wiring import Wiring

__all__ = ["PublishingMixin"]

T = TypeVar("T")
BATCH: Final = 1000
"""Events that are sent in one call."""


class PublishingMixin:
    """The base of an app that has exchanges."""

    if TYPE_CHECKING:

        @property
        def registry(self) -> Registry:
            """The declarations of the app."""

        def _wired(self) -> Wiring:
            """Return the wiring of the app."""

        async def runtime(self) -> Runtime:
            """Return the Runtime of the running loop."""

    def _declare_exchange(self, exchange: Exchange) -> None:
        self.registry.add_exchange(exchange)

    def compose_event(self, exchange: str, key: str, event: object, options: EventOptions) -> ExchangeEvent:
        """Return the event of a call; see `EventExchange.event`."""
        return self._wired().composer.event(exchange, key, event, options)

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[PublishedEvent]:
        """Publish events; return their results in order. Raise as `EventExchange.publish_many` does."""
        results: list[PublishedEvent] = []
        unstored: list[ExchangeEvent] = []
        first: OutlastError | None = None
        for start in range(0, len(events), BATCH):
            batch = events[start : start + BATCH]
            try:
                some, errors = await self._publish_batch(batch)
            except BaseException as error:
                # A cancellation too: its caller may want to go on where it stopped.
                _tell(error, results, [*unstored, *events[start:]])
                raise
            results += some
            unstored += [event for event, error in zip(batch, errors, strict=True) if error is not None]
            first = next((error for error in (first, *errors) if error is not None), None)
        if first is not None:
            _tell(first, results, unstored)
            raise first
        return results

    async def _publish_batch(
        self, events: Sequence[ExchangeEvent]
    ) -> tuple[list[PublishedEvent], list[OutlastError | None]]:
        from outlast.enqueue.published import incomplete, published  # not needed to declare jobs

        routed, durability = await self._wired().publish_events(events)
        results = [published(event, each, self.runtime, durability) for event, each in zip(events, routed, strict=True)]
        return results, [incomplete(event, each) for event, each in zip(events, results, strict=True)]

    def publish_events_sync(self, events: Sequence[ExchangeEvent]) -> list[PublishedEvent]:
        """Publish events from blocking code; raise WrongThread on a thread that runs an event loop."""
        return self._from_blocking_code(lambda: self.publish_events(events))

    def _from_blocking_code(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await a call that uses the store on the portal's loop, which keeps the store open until the process ends."""
        from outlast.aio.portal import portal

        async def on_portal() -> T:
            if not self._wired().connections.has_connection():
                portal().at_stop(self._wired().close)
            return await call()

        return portal().run(on_portal)


def _tell(error: BaseException, results: Sequence[PublishedEvent], unstored: Sequence[ExchangeEvent]) -> None:
    """Tell in an error which copies are stored, and which events are not known to be complete."""
    stored = tuple(handle.id for each in results for handle in each.copies.values())
    vars(error).update(stored=stored, unstored=tuple(unstored))
