"""The opened store of each event loop: opened on first use, declared again when queues were added, closed with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from outlast.core.registry import Registry
from outlast.core.store.store import Store
from outlast.enqueue.runtime import Runtime

__all__ = ["Connections"]


class _LoopConnection:
    """One loop's connection. The lock keeps coroutines that come first together from opening twice."""

    __slots__ = ("declared", "lock", "runtime")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.runtime: Runtime | None = None
        self.declared = -1


class Connections:
    """Runtimes by process and event loop. A store that only this process reaches is one for all its loops."""

    def __init__(self, registry: Registry, connect: Callable[[], Store], wire: Callable[[Store], Runtime]) -> None:
        self._registry = registry
        self._connect = connect
        self._wire = wire
        self._connections: dict[tuple[int, asyncio.AbstractEventLoop], _LoopConnection] = {}
        self._single: Store | None = None

    async def get(self) -> Runtime:
        """Return the running loop's Runtime, its store open and its queues declared; raise StoreError."""
        key = (os.getpid(), asyncio.get_running_loop())
        connection = self._connections.get(key)
        if connection is None:
            self._forget()
            connection = self._connections.setdefault(key, _LoopConnection())
        if connection.runtime is not None and connection.declared == self._registry.version:
            return connection.runtime
        async with connection.lock:
            return await self._ready(connection)

    def at_hand(self) -> Runtime | None:
        """Return the running loop's Runtime if it is open and all queues are declared."""
        connection = self._connections.get((os.getpid(), asyncio.get_running_loop()))
        return connection.runtime if connection is not None and connection.declared == self._registry.version else None

    def here(self) -> bool:
        """Tell whether the running loop has a connection."""
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
        """Close the running loop's store, if it has one."""
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
        """Drop the connections of loops that were closed, and of the process that this one was forked from."""
        for key in [key for key in self._connections if key[0] != os.getpid() or key[1].is_closed()]:
            del self._connections[key]
