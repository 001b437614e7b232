"""Keeps exchanges and bindings in the file, one row each, and copies of events by the bindings of that moment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from outlast.brokers.binding_rows import encoded, read_rows
from outlast.brokers.expansion import Expansion
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.transaction import Transaction
from outlast.brokers.sqlite.unreadable import fetch_named
from outlast.core.exchanges.changes import BindingChange, removed, row_of
from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import Published

__all__ = ["SqliteExchanges", "bindings", "change"]

logger = logging.getLogger("outlast.sqlite")
T = TypeVar("T")


def bindings(db: apsw.Connection) -> Bindings:
    """Return all exchanges and bindings, of one moment."""
    with db:
        version = fetch_named(db, "bindings_version", ())[0][0]
        exchanges, rows = fetch_named(db, "exchanges", ()), fetch_named(db, "bindings", ())
    return read_rows(version, exchanges, rows, logger)


def change(tx: Transaction, wanted: BindingChange) -> None:
    """Make a change of exchanges and bindings."""
    if not wanted:
        return
    for exchange in wanted.exchanges:
        tx.run("exchange_put", (exchange.name, encoded(exchange).decode()))
    for binding in wanted.bindings:
        tx.run("binding_put", (row_of(binding), encoded(binding).decode()))
    for name in wanted.removed_exchanges:
        tx.run("exchange_delete", (name,))
    for binding in wanted.removed_bindings:
        tx.run("binding_delete", (row_of(binding),))
    tx.run("bindings_changed")


def _unbind(tx: Transaction, unwanted: Sequence[Binding], exchanges: Sequence[str]) -> int:
    wanted = removed(bindings(tx.db), unwanted, exchanges)
    change(tx, wanted)
    return wanted.removed


class SqliteExchanges:
    """The part `Exchanges` of the store."""

    if TYPE_CHECKING:

        async def _submit(self, run: Callable[[Transaction], T], **how: Any) -> T:
            """Run an operation in a transaction of the writing thread."""
            raise NotImplementedError

        async def _read(self, read: Callable[..., T], *args: object) -> T:
            """Run a read in the reading thread."""
            raise NotImplementedError

    def __init__(self) -> None:
        self._expansion = Expansion(self.bindings, self._publish_copies)

    async def bindings(self) -> Bindings:
        """Return all exchanges and bindings."""
        return await self._read(bindings)

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep the copies of each event, those of up to MOST_COPIES in one transaction."""
        return await self._expansion.publish(events)

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings, and exchanges that no binding names."""
        return await self._submit(lambda tx: _unbind(tx, bindings, exchanges))

    async def _publish_copies(self, version: int, messages: Sequence[Message]) -> list[Published] | None:
        """Keep the messages if the bindings still have this version: checked in the same transaction."""
        if not messages:
            return [] if await self._read(_version) == version else None

        def are_current(tx: Transaction) -> bool:
            return bool(tx.one("bindings_version") == version)

        def run(tx: Transaction) -> list[Published] | None:
            return publish(tx, messages) if are_current(tx) else None

        return await self._submit(run, merge=messages, needs=are_current)


def _version(db: apsw.Connection) -> Any:
    return fetch_named(db, "bindings_version", ())[0][0]
