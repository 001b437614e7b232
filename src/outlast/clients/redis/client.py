"""Sends commands and script calls to the server of their keys, many in one round trip; receives published messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from outlast.aio.tasks import cancel
from outlast.clients.pipeline import ReplyTimeout
from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.connection import Connection
from outlast.clients.redis.discovery import endpoint_in, slot_of
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.clients.redis.facts import Facts
from outlast.clients.redis.scripts import Script
from outlast.clients.redis.server_connections import ServerConnections
from outlast.core.durability import Durability
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["Argument", "RedisClient"]

_log = logging.getLogger("outlast.redis")

Argument = bytes | str | int | float

RECONNECT: Final = 0.25
"""Seconds between two attempts to subscribe again."""
REFUSED: Final = 60.0
"""Seconds until the next attempt to track keys, when the server has refused one."""
HOPS: Final = 5
"""The most times that a refused request is sent, to the server that the reply names or to the new master."""
SLOT_MOVE: Final = 0.05
"""Seconds to wait while a slot is moved."""


class RedisClient:
    """A server, the master of a Sentinel setup, or a Cluster; for one event loop.

    All calls raise ErrorReply for an error reply with a meaning for the caller alone; StoreUnavailable if nothing was
    done, StoreUncertain if the connection ended before the reply, StoreFull, StoreError. A cancelled call retires its
    connection: requests of other callers get their replies, and no new request is sent on it.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.split: Final = address.kind == "cluster"
        """The keys are on several servers: all keys of one call must have one slot."""
        self._servers = ServerConnections(address)
        # Sent after a call with `sure`; the timeout in milliseconds is added there.
        self._wait = ("WAITAOF", 1, address.replicas) if address.fsync else ("WAIT", address.replicas)
        self._receiving: asyncio.Task[None] | None = None
        self._tracking: asyncio.Task[None] | None = None

    @property
    def durability(self) -> tuple[Durability, float]:
        """The present durability of an accepted write, and the seconds of writes that a crash beyond it may lose."""
        return self._servers.durability

    @property
    def facts(self) -> Mapping[Endpoint, Facts]:
        """The facts of each master that was connected."""
        return self._servers.facts

    @property
    def unreached(self) -> int:
        """The number of masters of a Cluster that were not reached yet."""
        return sum(each not in self._servers.facts for each in self._servers.slots.masters)

    async def open(self) -> None:
        """Connect; raise StoreUnavailable, StoreError. Opening twice is a no-op."""
        await self._servers.open()

    async def close(self) -> None:
        """Disconnect; requests without a reply raise StoreUncertain."""
        if self._receiving is not None:
            await cancel(self._receiving)
            self._receiving = None
        if self._tracking is not None:
            await cancel(self._tracking)
            self._tracking = None
        await self._servers.close()

    async def command(self, *args: Argument, key: str | None = None) -> Any:
        """Send one plain command and return its reply. key: decides the node of a Cluster; default: args[1]."""
        return await self._ask(args, self._slot(key if key is not None or len(args) < 2 else str(args[1])))

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        sure: bool = False,
        again: bool = False,
    ) -> Any:
        """Call a script by its digest; send its text if the server does not have it.

        sure: return once the address's number of replicas has the write; raise StoreUncertain if they do not have it in
        time. again: the call is idempotent, so it is sent once more if the connection ends before the reply.
        """
        request = ("EVALSHA", script.sha, len(keys), *keys, *args)
        slot = self._slot(keys[0] if keys else None)
        purpose = "sure" if sure and self.address.replicas else ""
        try:
            return await self._ask(request, slot, script=script, purpose=purpose)
        except ReplyTimeout:
            raise
        except StoreUncertain as error:
            if not again:
                raise
            lost = error
        try:
            return await self._ask(request, slot, script=script, purpose=purpose)
        except StoreUncertain:
            raise
        except StoreUnavailable as error:
            raise StoreUncertain(f"{lost}; then {error}") from error

    def listen(self, channels: Sequence[str], on_message: Callable[[bytes], None]) -> None:
        """Call `on_message` with each message on `channels`, with b"" when some may have been missed, until `close`."""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive(channels, on_message), name="outlast-redis-messages")

    def track(
        self, prefixes: Sequence[str], on_keys: Callable[[Sequence[bytes]], None], on_state: Callable[[bool], None]
    ) -> None:
        """Call `on_keys` with all changed keys that begin with one of `prefixes`, until `close`; not on a Cluster.

        on_state: called with True when changes are told from now on, with False when some may be missed, at the end
        too.
        """
        if self._tracking is None:
            work = self._track(prefixes, on_keys, on_state)
            self._tracking = asyncio.create_task(work, name="outlast-redis-tracking")

    def _slot(self, key: str | None) -> int | None:
        return slot_of(key) if self.split and key is not None else None

    async def _ask(
        self, request: Sequence[Argument], slot: int | None, *, script: Script | None = None, purpose: str = ""
    ) -> Any:
        """Send a request to the node of its slot and return the reply; send it again if a server refused it."""
        send, to, asking, hops, move_time = request, None, False, 0, self.address.timeout / 2
        while True:
            connection = None if self.split else self._servers.connected(purpose, None)
            if connection is None:
                connection = await self._connection_for(purpose, slot, to)
            try:
                if asking or purpose:
                    return await self._ask_joined(connection, send, asking=asking, sure=bool(purpose))
                return await connection.ask(send)
            except asyncio.CancelledError:
                connection.retire()
                raise
            except ErrorReply as refusal:
                hops += 1
                if refusal.code == "NOSCRIPT" and script is not None and send is request:
                    send = ("EVAL", script.text, *request[2:])
                elif refusal.code == "ASK" and script is not None:
                    # The keys of its slot are moved one by one: on either node a script would miss some.
                    move_time -= SLOT_MOVE
                    if move_time < 0:
                        raise StoreUnavailable(
                            f"{connection.shown}: slot {slot} is being moved to another server: "
                            "see redis-cli --cluster check"
                        ) from None
                    hops, to, asking = 0, None, False
                    await asyncio.sleep(SLOT_MOVE)
                elif hops < HOPS and await self._follow(refusal, connection, slot):
                    to = endpoint_in(refusal, connection.endpoint) if refusal.code in ("MOVED", "ASK") else None
                    asking = refusal.code == "ASK"
                else:
                    raise meaning(refusal, connection.shown) from None

    async def _ask_joined(
        self, connection: Connection, request: Sequence[Argument], *, asking: bool, sure: bool
    ) -> Any:
        """Send a request with the ASKING before it or the wait for replicas after it; return the request's reply."""
        # No await between them: a request of another coroutine would come between them on the connection.
        asks = [connection.ask(("ASKING",))] if asking else []
        asks.append(connection.ask(request))
        if sure:
            asks.append(connection.ask((*self._wait, int(self.address.timeout * 500))))
        replies: list[Any] = await asyncio.gather(*asks, return_exceptions=True)
        if sure and isinstance(replies[-1], ErrorReply) and not isinstance(replies[-2], BaseException):
            raise StoreUncertain(f"the master has the write, but {meaning(replies[-1], connection.shown)}")
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        if not sure:
            return replies[-1]
        address = self.address
        on_master, replicas = replies[-1] if address.fsync else (1, replies[-1])
        if replicas < address.replicas or not on_master:
            count = f"only {replicas} of {address.replicas} replicas" if on_master else "not even the master"
            state = "had it on disk" if address.fsync else "had it"
            raise StoreUncertain(
                f"{connection.shown}: {count} {state} within {address.timeout / 2:g} s (?durability=replicated)"
            )
        return replies[-2]

    async def _follow(self, refusal: ErrorReply, connection: Connection, slot: int | None) -> bool:
        """Record the new server that an error reply means; return whether to send the request again."""
        match refusal.code:
            case "MOVED" if slot is not None:
                self._servers.slots.move(slot, endpoint_in(refusal, connection.endpoint))
                self._servers.start_slot_load()
            case "ASK":
                pass
            case "TRYAGAIN":
                await asyncio.sleep(SLOT_MOVE)
            case "READONLY" | "MASTERDOWN":
                connection.retire()  # the DNS name, the Sentinels or the Cluster may name another master now
                if self.split:
                    await self._servers.load_slots()
            case _:
                return False
        return True

    async def _connection_for(self, purpose: str, slot: int | None, to: Endpoint | None) -> Connection:
        if not self.split:
            return await self._servers.get(purpose, None)
        endpoint = to or self._node_of(slot)
        if endpoint is None:
            await self._servers.load_slots()
            endpoint = self._node_of(slot)
            if endpoint is None:
                raise StoreUnavailable(f"{self.address.shown}: no node has slot {slot}: see redis-cli --cluster check")
        try:
            return self._servers.connected(purpose, endpoint) or await self._servers.get(purpose, endpoint)
        except StoreUnavailable:
            await self._servers.load_slots()  # another node may be the master now
            master = self._node_of(slot)
            if master is None or master == endpoint:
                raise
            return await self._servers.get(purpose, master)

    def _node_of(self, slot: int | None) -> Endpoint | None:
        slots = self._servers.slots
        return slots.of(slot) if slot is not None else next(iter(slots.masters), None)

    async def _receive(self, channels: Sequence[str], on_message: Callable[[bytes], None]) -> None:
        """Stay subscribed; after each reconnection pass b"", because messages may have been missed."""
        while True:
            try:
                connection = await self._servers.connect_separate()
                try:
                    messages = await connection.subscribe(channels)
                    on_message(b"")
                    async for message in messages:
                        on_message(message)
                finally:
                    await connection.close()
            except (OSError, StoreError):
                pass  # the next request raises the error of this outage
            await asyncio.sleep(RECONNECT)

    async def _track(
        self, prefixes: Sequence[str], on_keys: Callable[[Sequence[bytes]], None], on_state: Callable[[bool], None]
    ) -> None:
        """Stay subscribed to the changes of keys: the connection that receives them is the one that asks for them.

        So no change is missed without a notice: when the connection ends, the server's tracking for it ends too.
        """
        while True:
            pause = RECONNECT
            try:
                connection = await self._servers.connect_separate()
                try:
                    number = await connection.ask(("CLIENT", "ID"))
                    named = (word for prefix in prefixes for word in ("PREFIX", prefix))
                    await connection.ask(("CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST", *named))
                    messages = await connection.subscribe(["__redis__:invalidate"])
                    on_state(True)
                    async for keys in messages:  # lists; it ends at a FLUSHALL, whose message names no keys
                        on_keys(cast("Sequence[bytes]", keys))
                finally:
                    on_state(False)
                    await connection.close()
            except ErrorReply as refusal:
                pause = REFUSED
                _log.warning(
                    "%s: changes of keys are not told (%s): allow CLIENT ID and CLIENT TRACKING to this user "
                    "and the channel __redis__:invalidate (docs/redis.md)",
                    self.address.shown,
                    refusal,
                )
            except (OSError, StoreError):
                pass
            await asyncio.sleep(pause)
