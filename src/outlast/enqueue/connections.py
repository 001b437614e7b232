"""One open store per event loop: opened on first use, declared again after new declarations, closed with the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from outlast.aio.per_loop import PerLoop
from outlast.core.registry import Registry
from outlast.core.store.store import Store
from outlast.enqueue.attendance import Attendance
from outlast.enqueue.local_guards import LocalGuards
from outlast.enqueue.runtime import Runtime

__all__ = ["Connections"]


class _LoopConnection:
    """The connection of one loop. The lock stops concurrent first uses from opening the store twice."""

    __slots__ = ("attendance", "declared", "lock", "runtime")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.runtime: Runtime | None = None
        self.attendance: Attendance | None = None
        self.declared = -1


class Connections:
    """Runtimes by process and event loop. A store that no other process can reach is shared by all loops."""

    def __init__(self, registry: Registry, connect: Callable[[], Store], wire: Callable[[Store], Runtime]) -> None:
        self._registry = registry
        self._connect = connect
        self._wire = wire
        self._connections = PerLoop(_LoopConnection, close=self.close, abandon=self._abandon)
        self._single: Store | None = None
        self._local_guards = LocalGuards(registry.guards)

    async def get(self) -> Runtime:
        """Return the Runtime of the running loop, with the store open and the queues declared; raise StoreError."""
        if (runtime := self.if_ready()) is not None:
            return runtime
        connection = await self._connections.get()
        async with connection.lock:
            return await self._ready(connection)

    def if_ready(self) -> Runtime | None:
        """Return the Runtime of the running loop if its store is open and all queues are declared."""
        connection = self._connections.here()
        return connection.runtime if connection is not None and connection.declared == self._registry.version else None

    def has_connection(self) -> bool:
        """Return whether the running loop has a connection, open or not yet."""
        return self._connections.here() is not None

    def has_others(self) -> bool:
        """Return whether another loop of this process, which is not closed, has a connection."""
        return any(True for _ in self._connections.others())

    def has_worker(self, *, anywhere: bool) -> bool:
        """Return whether a worker uses the store of the running loop, or of any loop of this process."""
        connections = self._connections if anywhere else [self._connections.here()]
        return any(each is not None and each.runtime is not None and each.runtime.used for each in connections)

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
        if not self.has_connection() or self.has_worker(anywhere=False):
            return
        connection = self._connections.pop()
        assert connection is not None
        async with connection.lock:
            runtime, connection.runtime = connection.runtime, None
            if connection.attendance is not None:
                connection.attendance.close()
        await self._close_store(runtime)

    async def _abandon(self, connection: _LoopConnection) -> None:
        runtime, connection.runtime = connection.runtime, None
        await self._close_store(runtime)

    async def _close_store(self, runtime: Runtime | None) -> None:
        """Close the store of a runtime, unless a loop has it open."""
        used = (each.runtime.store for each in self._connections if each.runtime is not None)
        if runtime is not None and not any(store is runtime.store for store in used):
            await runtime.store.broker.close()
