"""Makes and keeps the connections to a server, to the master of a Sentinel setup, or to a Cluster's masters."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final

from outlast.aio.tasks import cancel
from outlast.clients.metrics import RECONNECTS
from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.connection import Connection
from outlast.clients.redis.discovery import Slots, find_master
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.clients.redis.facts import PROBES, Facts, durability_of, facts_of, fault_of, weakest
from outlast.core.durability import Durability
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["ServerConnections"]

FRESH: Final = 5.0
"""Seconds for which the facts of a server are not read again when a new connection to it is made."""
REFRESH = 30.0
"""Seconds after which facts are read again: CONFIG SET may have changed the durability."""

_RECONNECTS: Final = RECONNECTS.of("redis")
_Key = tuple[str, Endpoint | None]


class ServerConnections:
    """Connections by purpose and server. All callers that need the same connection share one attempt to make it.

    purpose: "" for most requests; requests that would delay others use a separate connection, by another name.
    """

    def __init__(self, address: Address) -> None:
        self.address: Final = address
        self.slots: Final = Slots()
        self.facts: dict[Endpoint, Facts] = {}
        """The facts of the masters that were connected."""
        self.durability: tuple[Durability, float] = weakest(())
        """The durability by those facts; a new object only when the facts were read again."""
        self._read_at: dict[Endpoint, float] = {}
        self._connections: dict[_Key, Connection] = {}
        self._attempts: dict[_Key, asyncio.Task[Connection]] = {}
        self._slot_load: asyncio.Task[None] | None = None
        self._refresh: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None
        self._open = False

    async def open(self) -> None:
        """Connect, in a Cluster to every master, to read the facts of each; raise StoreError if all masters fail."""
        self._open = True
        self._tls = self.address.tls()
        if self.address.kind == "cluster":
            await self.load_slots()
            results = await asyncio.gather(
                *(self.get("", endpoint) for endpoint in self.slots.masters), return_exceptions=True
            )
            errors = [each for each in results if isinstance(each, BaseException)]
            if errors and len(errors) == len(results):
                raise errors[0]
        else:
            await self.get("", None)
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._refresh_facts(), name="outlast-redis-facts")

    async def close(self) -> None:
        """End all connections, and all attempts."""
        self._open = False
        await cancel(*self._attempts.values(), *(each for each in (self._slot_load, self._refresh) if each))
        self._refresh = None
        connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            await connection.close()

    def connected(self, purpose: str, endpoint: Endpoint | None) -> Connection | None:
        """Return the connection if it is made and alive. endpoint None: the only server, or the master."""
        connection = self._connections.get((purpose, endpoint))
        return connection if connection is not None and connection.alive else None

    async def get(self, purpose: str, endpoint: Endpoint | None) -> Connection:
        """Return the connection, made if needed; raise StoreUnavailable within `connect_timeout`, StoreError."""
        connection = self.connected(purpose, endpoint)
        if connection is not None:
            return connection
        if not self._open:
            raise StoreUnavailable(f"{self.address.shown} is not open: await open() before use")
        key = (purpose, endpoint)
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = asyncio.create_task(self._make(key), name="outlast-redis-connect")
            attempt.add_done_callback(lambda done: self._made(key, done))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():
                raise StoreUnavailable(f"{self.address.shown} was closed during this call") from None
            raise

    async def connect_separate(self) -> Connection:
        """Return a new connection for the caller alone, to the server or to any node of the Cluster that answers."""
        if self.address.kind != "cluster":
            return await self._connect(None)
        error: StoreError = StoreUnavailable(f"{self.address.shown}: no node is known")
        for endpoint in dict.fromkeys((*self.slots.masters, *self.address.endpoints)):
            try:
                return await self._connect(endpoint)
            except StoreError as failed:
                error = failed
        raise error

    async def load_slots(self) -> None:
        """Read the nodes of all slots from one node; raise StoreError if none answers. Callers share one attempt."""
        await asyncio.shield(self.start_slot_load())

    def start_slot_load(self) -> asyncio.Task[None]:
        """Start to read the nodes of all slots; return the task, whose error the caller may ignore."""
        if self._slot_load is None or self._slot_load.done():
            self._slot_load = asyncio.create_task(self._load_slots(), name="outlast-redis-slots")
            self._slot_load.add_done_callback(_retrieve_error)
        return self._slot_load

    async def _load_slots(self) -> None:
        connection = next(iter(self._main_connections()), None)
        if connection is not None:
            with suppress(StoreError):
                await self.slots.load(connection)
                return
        connection = await self.connect_separate()
        try:
            await self.slots.load(connection)
        finally:
            await connection.close()

    def _main_connections(self) -> list[Connection]:
        return [each for (purpose, _), each in self._connections.items() if not purpose and each.alive]

    async def _make(self, key: _Key) -> Connection:
        connection = await self._connect(key[1])
        if not key[0]:
            try:
                async with asyncio.timeout(self.address.connect_timeout):
                    await self._read_facts(connection)
            except (StoreUncertain, TimeoutError) as error:  # no request of a caller was sent yet
                await connection.close()
                raise StoreUnavailable(
                    f"{connection.shown} gives no answer within {self.address.connect_timeout:g} s"
                ) from error
            except BaseException:
                await connection.close()
                raise
        if key in self._connections:
            _RECONNECTS.add()
        self._connections[key] = connection
        return connection

    async def _connect(self, endpoint: Endpoint | None) -> Connection:
        if endpoint is None and self.address.kind != "sentinel":
            endpoint = self.address.endpoints[0]
        if endpoint is not None:
            return await Connection.connect(self.address, endpoint, tls=self._tls)
        connection = await Connection.connect(self.address, await find_master(self.address, self._tls), tls=self._tls)
        try:
            role = (await connection.ask(("ROLE",)))[0]
        except ErrorReply as refusal:
            await connection.close()
            raise meaning(refusal, connection.shown) from refusal
        except BaseException:
            await connection.close()
            raise
        if role != b"master":
            await connection.close()
            raise StoreUnavailable(
                f"{connection.shown} is still a {role.decode()}, and the Sentinels name it as the master: "
                "wait for the failover"
            )
        return connection

    async def _read_facts(self, connection: Connection) -> None:
        """Read the facts of the server, unless they are fresh; raise StoreError if it cannot keep data safely."""
        now = asyncio.get_running_loop().time()
        if connection.endpoint in self.facts and now - self._read_at[connection.endpoint] < min(FRESH, REFRESH):
            return
        replies = await asyncio.gather(*map(connection.ask, PROBES), return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ErrorReply):
                raise reply
        facts = facts_of(replies)
        fault = fault_of(facts, fsync=self.address.fsync)
        if fault:
            raise StoreError(f"{connection.shown} {fault}")
        if self.address.kind != "cluster":
            self.facts.clear()
        self.facts[connection.endpoint] = facts
        self.durability = weakest(durability_of(each, self.address.replicas) for each in self.facts.values())
        self._read_at[connection.endpoint] = now

    async def _refresh_facts(self) -> None:
        """Read the facts of all servers every REFRESH seconds; an error is left to the requests."""
        while True:
            await asyncio.sleep(REFRESH)
            for connection in self._main_connections():
                with suppress(StoreError):
                    await self._read_facts(connection)

    def _made(self, key: _Key, done: asyncio.Task[Connection]) -> None:
        self._attempts.pop(key, None)
        _retrieve_error(done)


def _retrieve_error(done: asyncio.Task[Connection] | asyncio.Task[None]) -> None:
    """Retrieve the error of a task: its callers may have been cancelled, and asyncio would log it."""
    if not done.cancelled():
        done.exception()
