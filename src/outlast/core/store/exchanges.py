"""The protocol that keeps exchanges with their bindings, and publishes events through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed

__all__ = ["Bindings", "Exchanges"]


class Exchanges(Protocol):
    """Keep exchanges and bindings, which `Broker.declare` adds, and give each bound queue its copy of an event."""

    async def bindings(self) -> Bindings:
        """Return all exchanges and bindings of the store, of other apps too."""
        ...

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep a copy of each event for each queue that is bound to its exchange; the answers align with the events.

        A copy's id is derived from the event's id and the queue, so that repeating an event completes it: a copy that
        is there answers Exists. The answer is per queue: a full one does not stop the others. Where the store is one
        place, the copies of one event are stored in one step, by the bindings of that moment; where queues lie apart,
        in one step per queue. Raise ConfigurationError for an exchange that the store does not know.
        """
        ...

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove these bindings, and these exchanges if no binding names them; return how many were removed."""
        ...
