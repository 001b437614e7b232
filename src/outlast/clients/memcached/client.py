"""The servers of Memcached: each key has one, and stays there while it is away."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Final

from outlast.aio.tasks import cancel
from outlast.clients.memcached.address import MemcachedAddress
from outlast.clients.memcached.connection import MemcachedConnection
from outlast.clients.metrics import RECONNECTS
from outlast.core.errors import StoreUnavailable

__all__ = ["MemcachedClient", "MemcachedServer"]


_RECONNECTS: Final = RECONNECTS.of("memcached")


class MemcachedServer:
    """One server and the connection to it. name: "host:port"."""

    def __init__(self, name: str, timeout: float) -> None:
        self.name: Final = name
        self.shown: Final = f"memcached://{name}"
        self._timeout = timeout
        self._connection: MemcachedConnection | None = None
        self._attempt: asyncio.Task[MemcachedConnection] | None = None
        self._weight = blake2b(name.encode(), digest_size=16).digest()

    def weight(self, key: bytes) -> bytes:
        """Return the weight of this server for a key: the server with the largest one has the key."""
        return blake2b(key, digest_size=8, key=self._weight).digest()

    async def connection(self) -> MemcachedConnection:
        """Return the connection, made if needed: callers share one attempt. Raise StoreUnavailable, StoreError."""
        if self._connection is not None and self._connection.alive:
            return self._connection
        if self._attempt is None:
            self._attempt = asyncio.create_task(
                MemcachedConnection.connect(self.name, self._timeout), name="outlast-memcached-connect"
            )
            self._attempt.add_done_callback(self._made)
        attempt = self._attempt
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():
                raise StoreUnavailable(f"{self.shown} was closed during this call") from None
            raise

    def _made(self, attempt: asyncio.Task[MemcachedConnection]) -> None:
        if self._attempt is attempt:
            self._attempt = None
        if not attempt.cancelled() and attempt.exception() is None:
            if self._connection is not None:
                _RECONNECTS.add()
            self._connection = attempt.result()

    async def close(self) -> None:
        """Disconnect; requests without a reply raise StoreUncertain."""
        if self._attempt is not None:
            await cancel(self._attempt)
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class MemcachedClient:
    """The servers of an address, for one event loop.

    A key is on one of them, by rendezvous hashing (Thaler, Ravishankar: Using Name-Based Mappings to Increase Hit
    Rates, 1998): a server that is added takes its share of the keys from all, one that is removed gives its keys to
    all, and no other key moves. The keys of a server that is away go nowhere else: an old value would be there.
    """

    def __init__(self, address: MemcachedAddress) -> None:
        self.address: Final = address
        self.servers: Final = tuple(MemcachedServer(name, address.timeout) for name in address.servers)

    async def open(self) -> None:
        """Connect; raise StoreUnavailable, StoreError when no server can be reached. Opening twice is a no-op."""
        made = await asyncio.gather(*(server.connection() for server in self.servers), return_exceptions=True)
        failed = [each for each in made if isinstance(each, BaseException)]
        refused = [each for each in failed if not isinstance(each, StoreUnavailable)]
        if refused or len(failed) == len(made):
            raise (refused or failed)[0]

    async def close(self) -> None:
        """Disconnect."""
        for server in self.servers:
            await server.close()

    def server_of(self, key: bytes) -> MemcachedServer:
        """Return the server of a key."""
        if len(self.servers) == 1:
            return self.servers[0]
        return max(self.servers, key=lambda server: server.weight(key))
