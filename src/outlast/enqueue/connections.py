"""One open store per event loop: opened on first use, declared again when the registry changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from outlast.core.registry import Registry
from outlast.core.store.store import Store
from outlast.enqueue.runtime import Runtime

__all__ = ["Connections"]


class _LoopConnection:
    """The connection of one loop. The lock stops concurrent first uses from opening the store twice."""

    __slots__ = ("declared", "lock", "runtime")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.runtime: Runtime | None = None
        self.declared = -1


class Connections:
    """Runtimes by process and event loop. A store that no other process can reach is shared by all loops."""

    def __init__(self, registry: Registry, connect: Callable[[], Store], wire: Callable[[Store], Runtime]) -> None:
        self._registry = registry
        self._connect = connect
        self._wire = wire
        self._connections: dict[tuple[int, asyncio.AbstractEventLoop], _LoopConnection] = {}
        self._single: Store | None = None

    async def get(self) -> Runtime:
        """Return the Runtime of the running loop, with the store open and the queues declared; raise StoreError."""
        if (runtime := self.if_ready()) is not None:
            return runtime
        key = (os.getpid(), asyncio.get_running_loop())
        if key not in self._connections:
            self._forget()
        connection = self._connections.setdefault(key, _LoopConnection())
        async with connection.lock:
            return await self._ready(connection)

    def if_ready(self) -> Runtime | None:
        """Return the Runtime of the running loop if its store is open and all queues are declared."""
        connection = self._connections.get((os.getpid(), asyncio.get_running_loop()))
        return connection.runtime if connection is not None and connection.declared == self._registry.version else None

    def has_connection(self) -> bool:
        """Return whether the running loop has a connection, open or not yet."""
        return (os.getpid(), asyncio.get_running_loop()) in self._connections

    async def _ready(self, connection: _LoopConnection) -> Runtime:
        if connection.runtime is None:
            store = self._single or self._connect()
            try:
                await store.broker.open()
            except BaseException:
                await store.broker.close()
                raise
            if not store.broker.capabilities.shared:
                store = self._single = self._single or store
            connection.runtime = self._wire(store)
            connection.declared = -1
        version = self._registry.version
        if connection.declared != version:
            await connection.runtime.store.declare(self._registry)
            connection.declared = version
        return connection.runtime

    async def close(self) -> None:
        """Close the store of the running loop, unless another loop shares it."""
        connection = self._connections.pop((os.getpid(), asyncio.get_running_loop()), None)
        if connection is None:
            return
        async with connection.lock:
            runtime, connection.runtime = connection.runtime, None
        if runtime is None:
            return
        store = runtime.store
        if not any(other.runtime is not None and other.runtime.store is store for other in self._connections.values()):
            await store.broker.close()

    def _forget(self) -> None:
        """Drop the connections of closed loops, and of the parent process after a fork."""
        for key in [key for key in self._connections if key[0] != os.getpid() or key[1].is_closed()]:
            del self._connections[key]
