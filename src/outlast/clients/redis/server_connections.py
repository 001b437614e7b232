"""The connections to a server, to the master of a Sentinel setup, or to a Cluster's masters; made when needed."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final

from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.connection import Connection
from outlast.clients.redis.discovery import Slots, find_master
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.clients.redis.facts import PROBES, Facts, durability_of, facts_of, fault_of, weakest
from outlast.core.durability import Durability
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["ServerConnections"]

FRESH: Final = 5.0
"""Seconds for which a server is not asked again what it is like, when a new connection to it is made."""
REFRESH = 30.0
"""Seconds after which it is asked again all the same: CONFIG SET may have changed what a write survives there."""

_Key = tuple[str, Endpoint | None]


class ServerConnections:
    """Connections by purpose and server. All who need one while it is being made wait for that attempt, or its failure.

    purpose: "" for most requests; requests that would delay others have a connection of their own, by another name.
    """

    def __init__(self, address: Address) -> None:
        self.address: Final = address
        self.slots: Final = Slots()
        self.facts: dict[Endpoint, Facts] = {}
        """What the masters that were connected to are like."""
        self.durability: tuple[Durability, float] = weakest(())
        """What follows from that for an accepted write; another object only when they were asked again."""
        self._asked_at: dict[Endpoint, float] = {}
        self._connections: dict[_Key, Connection] = {}
        self._attempts: dict[_Key, asyncio.Task[Connection]] = {}
        self._learning: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None
        self._open = False

    async def open(self) -> None:
        """Connect; raise StoreError. In a Cluster to every master, for each tells what it is like."""
        self._open = True
        self._tls = self.address.tls()
        if self.address.kind == "cluster":
            await self.learn()
            tried = await asyncio.gather(
                *(self.get("", endpoint) for endpoint in self.slots.masters), return_exceptions=True
            )
            failed = [each for each in tried if isinstance(each, BaseException)]
            if failed and len(failed) == len(tried):  # else the others go on
                raise failed[0]
        else:
            await self.get("", None)
        if self._looking is None:
            self._looking = asyncio.create_task(self._keep_looking(), name="outlast-redis-facts")

    async def close(self) -> None:
        """End all connections, and all attempts."""
        self._open = False
        tasks = [*self._attempts.values(), *(each for each in (self._learning, self._looking) if each)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._looking = None
        connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            await connection.close()

    def at_hand(self, purpose: str, endpoint: Endpoint | None) -> Connection | None:
        """Return the connection if it is there already. endpoint None: the only server, or the master."""
        connection = self._connections.get((purpose, endpoint))
        return connection if connection is not None and connection.alive else None

    async def get(self, purpose: str, endpoint: Endpoint | None) -> Connection:
        """Return the connection, made if needed; raise StoreUnavailable within `connect_timeout`, StoreError."""
        connection = self.at_hand(purpose, endpoint)
        if connection is not None:
            return connection
        if not self._open:
            raise StoreUnavailable(f"{self.address.shown} is not open here: await open() before use")
        key = (purpose, endpoint)
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = asyncio.create_task(self._make(key), name="outlast-redis-connect")
            attempt.add_done_callback(lambda done: self._made(key, done))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():
                raise StoreUnavailable(f"{self.address.shown} was closed meanwhile") from None
            raise

    async def apart(self) -> Connection:
        """Return a connection of the caller's own, to the server or any node of the Cluster that answers."""
        if self.address.kind != "cluster":
            return await self._connect(None)
        error: StoreError = StoreUnavailable(f"{self.address.shown}: no node is known")
        for endpoint in dict.fromkeys((*self.slots.masters, *self.address.endpoints)):
            try:
                return await self._connect(endpoint)
            except StoreError as failed:
                error = failed
        raise error

    async def learn(self) -> None:
        """Have a node of the Cluster say which has what; raise StoreError when none does. One asks at a time."""
        await asyncio.shield(self.learn_later())

    def learn_later(self) -> asyncio.Task[None]:
        """Begin to; return the task, whose failure nobody needs to look at."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn(), name="outlast-redis-slots")
            self._learning.add_done_callback(_heed)
        return self._learning

    async def _learn(self) -> None:
        connection = next(
            (each for (purpose, _), each in self._connections.items() if not purpose and each.alive), None
        )
        if connection is not None:
            try:
                await self.slots.ask(connection)
            except StoreError:
                pass
            else:
                return
        connection = await self.apart()
        try:
            await self.slots.ask(connection)
        finally:
            await connection.close()

    async def _make(self, key: _Key) -> Connection:
        connection = await self._connect(key[1])
        if not key[0]:
            try:
                async with asyncio.timeout(self.address.connect_timeout):
                    await self._look(connection)
            except (StoreUncertain, TimeoutError) as error:  # nothing of ours was asked yet
                await connection.close()
                raise StoreUnavailable(
                    f"{connection.shown} gives no answer within {self.address.connect_timeout:g} s"
                ) from error
            except BaseException:
                await connection.close()
                raise
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
                f"{connection.shown} is named as the master and is a {role.decode()} yet: a failover runs"
            )
        return connection

    async def _look(self, connection: Connection) -> None:
        """Ask the server what it is like, unless it was just asked; raise StoreError if data is not safe there.

        What it does not tell is unknown.
        """
        now = asyncio.get_running_loop().time()
        if connection.endpoint in self.facts and now - self._asked_at[connection.endpoint] < min(FRESH, REFRESH):
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
        self._asked_at[connection.endpoint] = now

    async def _keep_looking(self) -> None:
        """Ask again every now and then. A server that gives no answer is left to those who need one."""
        while True:
            await asyncio.sleep(REFRESH)
            for (purpose, _), connection in list(self._connections.items()):
                if not purpose and connection.alive:
                    with suppress(StoreError):
                        await self._look(connection)

    def _made(self, key: _Key, done: asyncio.Task[Connection]) -> None:
        self._attempts.pop(key, None)
        _heed(done)


def _heed(done: asyncio.Task[Connection] | asyncio.Task[None]) -> None:
    """Look at how a task ended: whoever waited for it may have gone."""
    if not done.cancelled():
        done.exception()
