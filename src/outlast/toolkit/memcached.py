"""The toolkit's data on servers of Memcached, which keep a cache and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from outlast.aio.notifier import Notifier
from outlast.clients.memcached.address import MemcachedAddress
from outlast.clients.memcached.client import MemcachedClient, MemcachedServer
from outlast.clients.memcached.connection import MemcachedConnection
from outlast.core.clock import Clock
from outlast.core.errors import StoreFull, StoreUnavailable, StoreUncertain
from outlast.toolkit.caches_only import refuse_piece
from outlast.toolkit.store import PartAway, ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["ToolkitMemcached"]

T = TypeVar("T")

AWAY_FOR: Final = 1.0
"""Seconds after a failed call to one of several servers in which no other is made to it."""


class ToolkitMemcached(ToolkitStore):
    """The items `NAMESPACE:kit:...` on the servers at `address`, for one event loop.

    clock: its wall time is in the items; the clocks of all hosts must be in step. With several servers, one that fails
    or is full makes the keys on it away, and no others.
    """

    caches_only = True

    def __init__(self, address: MemcachedAddress, clock: Clock) -> None:
        self.client: Final = MemcachedClient(address)
        self.clock: Final = clock
        self.shown = address.shown
        self._prefix = f"{address.namespace}:kit:"
        self._notifiers: dict[str, Notifier] = {}
        self._away_until: dict[MemcachedServer, float] = {}

    async def open(self) -> None:
        """Connect; raise StoreError when no server can be reached. Opening twice is a no-op."""
        await self.client.open()

    async def close(self) -> None:
        """Disconnect."""
        await self.client.close()
        for notifier in self._notifiers.values():
            notifier.notify()

    def key(self, piece: str, text: str) -> bytes:
        """Return the key of an item, 250 bytes at most. text: `key_text`."""
        return f"{self._prefix}{piece}:{text}".encode("ascii")

    async def call(self, key: bytes, work: Callable[[MemcachedConnection], Awaitable[T]]) -> T:
        """Return `await work(connection)`, on the connection to the server of a key. Raise StoreError, PartAway."""
        server = self.client.server_of(key)
        if len(self.client.servers) == 1:
            return await work(await server.connection())
        now = asyncio.get_running_loop().time()
        left = self._away_until.get(server, now) - now
        if left > 0:
            raise PartAway(f"{server.shown} did not answer a moment ago", uncertain=False, retry_after=left)
        try:
            return await work(await server.connection())
        except (StoreUnavailable, StoreFull) as error:
            self._away_until[server] = asyncio.get_running_loop().time() + AWAY_FOR
            uncertain = isinstance(error, StoreUncertain)
            raise PartAway(str(error), uncertain=uncertain, retry_after=AWAY_FOR) from error

    def choose(
        self,
        memory: Callable[[ToolkitMemory], T],
        file: Callable[[ToolkitFile], T],
        server: Callable[[ToolkitServer], T],
    ) -> NoReturn:
        """Raise ConfigurationError: only the cache has a form here."""
        refuse_piece(self.shown)

    def listen(self, change: str) -> Notifier:
        """Return the notifier of a change, of this process alone: Memcached tells of none."""
        return self._notifiers.setdefault(change, Notifier())
