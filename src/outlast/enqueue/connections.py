"""One open store per event loop: opened on first use, declared again after new declarations, closed with the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any

from outlast.aio.loop_end import at_loop_end
from outlast.core.registry import Registry
from outlast.core.store.store import Store
from outlast.enqueue.attendance import Attendance
from outlast.enqueue.local_guards import LocalGuards
from outlast.enqueue.runtime import Runtime

__all__ = ["Connections"]


class _LoopConnection:
    """The connection of one loop. The lock stops concurrent first uses from opening the store twice."""

    __slots__ = ("__weakref__", "_close", "attendance", "declared", "lock", "runtime")

    def __init__(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._close = close
        self.lock = asyncio.Lock()
        self.runtime: Runtime | None = None
        self.attendance: Attendance | None = None
        self.declared = -1

    async def aclose(self) -> None:
        """Close it at the end of its loop."""
        await self._close()


class Connections:
    """Runtimes by process and event loop. A store that no other process can reach is shared by all loops."""

    def __init__(self, registry: Registry, connect: Callable[[], Store], wire: Callable[[Store], Runtime]) -> None:
        self._registry = registry
        self._connect = connect
        self._wire = wire
        self._connections: dict[tuple[int, asyncio.AbstractEventLoop], _LoopConnection] = {}
        self._single: Store | None = None
        self._local_guards = LocalGuards(registry.guards)

    async def get(self) -> Runtime:
        """Return the Runtime of the running loop, with the store open and the queues declared; raise StoreError."""
        if (runtime := self.if_ready()) is not None:
            return runtime
        key = (os.getpid(), asyncio.get_running_loop())
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = _LoopConnection(self.close)
            at_loop_end(connection)
            await self._forget()
        async with connection.lock:
            return await self._ready(connection)

    def if_ready(self) -> Runtime | None:
        """Return the Runtime of the running loop if its store is open and all queues are declared."""
        connection = self._connections.get((os.getpid(), asyncio.get_running_loop()))
        return connection.runtime if connection is not None and connection.declared == self._registry.version else None

    def has_connection(self) -> bool:
        """Return whether the running loop has a connection, open or not yet."""
        return (os.getpid(), asyncio.get_running_loop()) in self._connections

    def has_others(self) -> bool:
        """Return whether another loop of this process, which is not closed, has a connection."""
        here = asyncio.get_running_loop()
        return any(
            pid == os.getpid() and loop is not here and not loop.is_closed() for pid, loop in [*self._connections]
        )

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
            connection.attendance = Attendance(connection.runtime)
            connection.declared = -1
        version = self._registry.version
        if connection.declared != version:
            await connection.runtime.store.declare(self._registry)
            self._local_guards.opened(connection.runtime.store)
            connection.declared = version
        return connection.runtime

    async def close(self) -> None:
        """Close the store of the running loop, unless another loop shares it, or a worker uses it."""
        key = (os.getpid(), asyncio.get_running_loop())
        connection = self._connections.get(key)
        if connection is None or (connection.runtime is not None and connection.runtime.used):
            return
        del self._connections[key]
        async with connection.lock:
            runtime, connection.runtime = connection.runtime, None
            if connection.attendance is not None:
                connection.attendance.close()
        if runtime is None:
            return
        if not self._shared(runtime.store):
            await runtime.store.broker.close()

    async def _forget(self) -> None:
        """Close the connections of loops that were closed before; drop those of the parent process after a fork."""
        ended = [key for key in self._connections if key[0] != os.getpid() or key[1].is_closed()]
        for key, connection in [(key, self._connections.pop(key)) for key in ended]:
            runtime, connection.runtime = connection.runtime, None
            if runtime is not None and key[0] == os.getpid() and not self._shared(runtime.store):
                with contextlib.suppress(RuntimeError):  # its connections need their loop: they end when they are freed
                    await runtime.store.broker.close()

    def _shared(self, store: Store) -> bool:
        """Return whether a loop has this store open."""
        return any(each.runtime is not None and each.runtime.store is store for each in self._connections.values())
