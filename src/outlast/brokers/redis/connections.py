"""The connections to a server, to the master of a Sentinel setup, or to a Cluster's masters; made when needed."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final

from outlast.brokers.redis.address import Address, Endpoint
from outlast.brokers.redis.facts import PROBES, Facts, durability_of, facts_of, fault_of, weakest
from outlast.brokers.redis.finding import Slots, find_master
from outlast.brokers.redis.refusals import ScriptRefused, meaning
from outlast.brokers.redis.wire import Connection
from outlast.core.durability import Durability
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["ServerConnections"]

FRESH: Final = 5.0
"""Seconds for which a server is not asked again what it is like, when a connection to it is made anew."""
REFRESH = 30.0
"""Seconds after which it is asked again all the same: CONFIG SET may have changed what a job survives there."""

_Key = tuple[str, Endpoint | None]


class ServerConnections:
    """Wires by lane and server. Whoever needs one while it is being made waits for that one attempt, and its failure.

    A lane is a connection of its own, for requests that would hold up others.
    """

    def __init__(self, address: Address) -> None:
        self.address: Final = address
        self.slots: Final = Slots()
        self.facts: dict[Endpoint, Facts] = {}
        """What the masters that were connected to are like."""
        self.durability: tuple[Durability, float] = weakest(())
        """What follows from that for an accepted job; another object only when they were looked at anew."""
        self._asked_at: dict[Endpoint, float] = {}
        self._wires: dict[_Key, Connection] = {}
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
            if failed and len(failed) == len(tried):  # else the queues of the others go on
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
        wires, self._wires = list(self._wires.values()), {}
        for wire in wires:
            await wire.close()

    def at_hand(self, lane: str, endpoint: Endpoint | None) -> Connection | None:
        """Return the connection if it is there already. endpoint None: the only server, or the master."""
        wire = self._wires.get((lane, endpoint))
        return wire if wire is not None and wire.alive else None

    async def get(self, lane: str, endpoint: Endpoint | None) -> Connection:
        """Return the connection, made if needed; raise StoreUnavailable within `connect_timeout`, StoreError."""
        wire = self.at_hand(lane, endpoint)
        if wire is not None:
            return wire
        if not self._open:
            raise StoreUnavailable(f"{self.address.shown} is not open here: await open() before use")
        key = (lane, endpoint)
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
        wire = next((wire for (lane, _), wire in self._wires.items() if not lane and wire.alive), None)
        if wire is not None:
            try:
                await self.slots.ask(wire)
            except StoreError:
                pass
            else:
                return
        wire = await self.apart()
        try:
            await self.slots.ask(wire)
        finally:
            await wire.close()

    async def _make(self, key: _Key) -> Connection:
        wire = await self._connect(key[1])
        if not key[0]:
            try:
                async with asyncio.timeout(self.address.connect_timeout):
                    await self._look(wire)
            except (StoreUncertain, TimeoutError) as error:  # nothing of ours was asked yet
                await wire.close()
                raise StoreUnavailable(
                    f"{wire.shown} gives no answer within {self.address.connect_timeout:g} s"
                ) from error
            except BaseException:
                await wire.close()
                raise
        self._wires[key] = wire
        return wire

    async def _connect(self, endpoint: Endpoint | None) -> Connection:
        if endpoint is None and self.address.kind != "sentinel":
            endpoint = self.address.endpoints[0]
        if endpoint is not None:
            return await Connection.connect(self.address, endpoint, tls=self._tls)
        wire = await Connection.connect(self.address, await find_master(self.address, self._tls), tls=self._tls)
        try:
            role = (await wire.ask(("ROLE",)))[0]
        except ScriptRefused as refusal:
            await wire.close()
            raise meaning(refusal, wire.shown) from refusal
        except BaseException:
            await wire.close()
            raise
        if role != b"master":
            await wire.close()
            raise StoreUnavailable(f"{wire.shown} is named as the master and is a {role.decode()} yet: a failover runs")
        return wire

    async def _look(self, wire: Connection) -> None:
        """Ask the server what it is like, unless it was just asked; raise StoreError for one that cannot keep jobs.

        What it does not tell is unknown.
        """
        now = asyncio.get_running_loop().time()
        if wire.endpoint in self.facts and now - self._asked_at[wire.endpoint] < min(FRESH, REFRESH):
            return
        replies = await asyncio.gather(*map(wire.ask, PROBES), return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException) and not isinstance(reply, ScriptRefused):
                raise reply
        facts = facts_of(replies)
        fault = fault_of(facts, fsync=self.address.fsync)
        if fault:
            raise StoreError(f"{wire.shown} {fault}")
        if self.address.kind != "cluster":
            self.facts.clear()
        self.facts[wire.endpoint] = facts
        self.durability = weakest(durability_of(each, self.address.replicas) for each in self.facts.values())
        self._asked_at[wire.endpoint] = now

    async def _keep_looking(self) -> None:
        """Ask again every now and then. A server that gives no answer is left to those who need one."""
        while True:
            await asyncio.sleep(REFRESH)
            for (lane, _), wire in list(self._wires.items()):
                if not lane and wire.alive:
                    with suppress(StoreError):
                        await self._look(wire)

    def _made(self, key: _Key, done: asyncio.Task[Connection]) -> None:
        self._attempts.pop(key, None)
        _heed(done)


def _heed(done: asyncio.Task[Connection] | asyncio.Task[None]) -> None:
    """Look at how a task ended: whoever waited for it may have gone."""
    if not done.cancelled():
        done.exception()
