"""Exchanges and bindings in one keyspace, and the copies of events, which are kept by the bindings of that moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from outlast.brokers.binding_rows import encoded, read_rows
from outlast.brokers.expansion import Expansion
from outlast.brokers.redis.keyspace import Keyspace, script
from outlast.brokers.redis.publish import PublishOperations
from outlast.clients.redis.client import Argument
from outlast.core.errors import StoreError
from outlast.core.exchanges.changes import BindingChange, added, removed, row_of
from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import Published
from outlast.core.topology import Topology

__all__ = ["ExchangeOperations"]

_BINDINGS: Final = script("clock", "version", "bindings")
_log = logging.getLogger("outlast.redis")
MOST_TRIES: Final = 100
"""How often a change is made again because another process was first."""


class ExchangeOperations(PublishOperations):
    """Keeps the bindings of one keyspace, and publishes events by them."""

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        super().__init__(keyspace, max_body, is_open)
        self._expansion = Expansion(self.bindings, self._publish_copies)
        self._declared: Topology | None = None
        keyspace.after_flush = self._declare_again

    async def check_bindings(self, topology: Topology) -> None:
        """Raise ConfigurationError for exchanges and bindings that cannot be declared."""
        if topology.exchanges or topology.bindings:
            added(await self.bindings(), topology.exchanges, topology.bindings)

    async def declare_bindings(self, topology: Topology) -> None:
        """Add the exchanges and bindings; raise ConfigurationError for what does not fit those that are stored."""
        if topology.exchanges or topology.bindings:
            await self._change(lambda known: added(known, topology.exchanges, topology.bindings))
            self._declared = topology

    async def _declare_again(self) -> None:
        if self._declared is not None:
            await self.declare_bindings(self._declared)

    async def bindings(self) -> Bindings:
        """Return all exchanges and bindings."""
        found = await self.keyspace.run(_BINDINGS, [self.keyspace.root], "get", again=True)
        rows: list[tuple[str, bytes]] = [
            (name.decode(errors="backslashreplace"), body) for name, body in zip(found[::2], found[1::2], strict=True)
        ]
        return await asyncio.to_thread(  # 10,000 rows take 0.03 s
            read_rows,
            _version(dict(rows).get("version")),
            [(name[1:], body) for name, body in rows if name[:1] == "e"],
            [(name[1:], body) for name, body in rows if name[:1] == "b"],
            _log,
        )

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings, and exchanges that no binding names."""
        return (await self._change(lambda known: removed(known, bindings, exchanges))).removed

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep the copies of each event, those of up to MOST_COPIES in one step."""
        return await self._expansion.publish(events)

    async def has_version(self, version: int) -> bool:
        """Return whether the bindings still have this version."""
        return int(await self.keyspace.run(_BINDINGS, [self.keyspace.root], "version", again=True)) == version

    async def _publish_copies(self, version: int, messages: Sequence[Message]) -> list[Published] | None:
        """Keep the messages if the bindings still have this version: checked in the same step."""
        if not messages:
            return [] if await self.has_version(version) else None
        return await self.publish_bound(messages, version)

    async def _change(self, wanted: Callable[[Bindings], BindingChange]) -> BindingChange:
        """Make a change of what is stored, again until no other process is in between; return it."""
        for _ in range(MOST_TRIES):
            known = await self.bindings()
            change = wanted(known)
            written: list[Argument] = []
            for exchange in change.exchanges:
                written += (f"e{exchange.name}", encoded(exchange))
            for binding in change.bindings:
                written += (f"b{row_of(binding)}", encoded(binding))
            gone = [f"e{name}" for name in change.removed_exchanges]
            gone += [f"b{row_of(binding)}" for binding in change.removed_bindings]
            if not change or await self.keyspace.run(
                _BINDINGS, [self.keyspace.root], "put", known.version, len(written) // 2, *written, *gone
            ):
                return change
        raise StoreError(f"the bindings were changed {MOST_TRIES} times meanwhile: declare them again")


def _version(kept: bytes | None) -> int:
    """Return what lua/version.lua returns."""
    return int(kept) if kept is not None and len(kept) < 17 and kept.isdigit() else 0
