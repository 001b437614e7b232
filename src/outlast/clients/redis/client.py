"""Sends commands and script calls to where their keys lie, many in one round trip, and receives published messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.connection import Connection, ReplyTimeout
from outlast.clients.redis.discovery import endpoint_in, slot_of
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.clients.redis.facts import Facts
from outlast.clients.redis.scripts import Script
from outlast.clients.redis.server_connections import ServerConnections
from outlast.core.durability import Durability
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["Argument", "RedisClient"]

Argument = bytes | str | int | float

RECONNECT: Final = 0.25
"""Seconds between two attempts to subscribe again."""
HOPS: Final = 5
"""How often a request that was not done is sent again: to where the server says, or to the new master."""
HANDING_OVER: Final = 0.05
"""Seconds to wait for a slot that is just handed over."""


class RedisClient:
    """A server, the master of a Sentinel setup, or a Cluster; for one event loop.

    All calls raise ErrorReply for an error reply that only the caller can understand; StoreUnavailable when nothing was
    done, StoreUncertain when the connection ended before the answer, StoreFull, StoreError. A call that is cancelled
    retires its connection: what others have asked on it is still answered, and nothing more is asked on it.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.split: Final = address.kind == "cluster"
        """The keys lie on several servers: one call may then name keys of one slot only."""
        self._servers = ServerConnections(address)
        # What follows a call with `sure`, without its timeout in milliseconds.
        self._patience = ("WAITAOF", 1, address.replicas) if address.fsync else ("WAIT", address.replicas)
        self._subscription: Connection | None = None
        self._on_message: Callable[[bytes], None] | None = None
        self._channels: list[str] = []
        self._receiving: asyncio.Task[None] | None = None

    @property
    def durability(self) -> tuple[Durability, float]:
        """What an accepted write survives, and how many seconds of writes a crash beyond it may lose, as of now."""
        return self._servers.durability

    @property
    def facts(self) -> Mapping[Endpoint, Facts]:
        """What each master that was connected to is like."""
        return self._servers.facts

    @property
    def silent(self) -> int:
        """How many masters of a Cluster have not been reached yet."""
        return sum(each not in self._servers.facts for each in self._servers.slots.masters)

    async def open(self) -> None:
        """Connect; raise StoreUnavailable, StoreError. Opening twice is a no-op."""
        await self._servers.open()

    async def close(self) -> None:
        """Let go of the server; what was sent and not answered raises StoreUncertain."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
            self._receiving = None
        await self._servers.close()

    async def command(self, *args: Argument, key: str | None = None) -> Any:
        """Send one plain command and return its reply. key: where a Cluster is asked, by default its first argument."""
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
        """Call a script by its digest, loaded where the server does not know it.

        sure: return when as many replicas have it as the address asks for; raise StoreUncertain when they do not in
        time. again: it does no harm twice, so a connection that ends before the answer is tried once more.
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
        """Call `on_message` with each message on `channels`; with b"" when some may have been missed."""
        self._on_message = on_message
        if self._receiving is None:
            self._channels = list(channels)
            self._receiving = asyncio.create_task(self._receive(), name="outlast-redis-messages")
        elif self._channels != list(channels):
            self._channels = list(channels)
            if self._subscription is not None:
                self._subscription.retire()  # `_receive` subscribes again, to these

    def _slot(self, key: str | None) -> int | None:
        return slot_of(key) if self.split and key is not None else None

    async def _ask(
        self, request: Sequence[Argument], slot: int | None, *, script: Script | None = None, purpose: str = ""
    ) -> Any:
        """Send a request to where its slot lies and return the reply. What was not done is sent anew."""
        send, to, asking, hops, patience = request, None, False, 0, self.address.timeout / 2
        while True:
            connection = None if self.split else self._servers.at_hand(purpose, None)
            if connection is None:
                connection = await self._connection_for(purpose, slot, to)
            try:
                if asking or purpose:
                    return await self._answer(connection, send, asking=asking, purpose=purpose)
                return await connection.ask(send)
            except asyncio.CancelledError:
                connection.retire()
                raise
            except ErrorReply as refusal:
                hops += 1
                if refusal.code == "NOSCRIPT" and script is not None and send is request:
                    send = ("EVAL", script.text, *request[2:])
                elif refusal.code == "ASK" and script is not None:
                    # The keys of its slot are on their way, some here and some there: a script would miss either.
                    patience -= HANDING_OVER
                    if patience < 0:
                        raise StoreUnavailable(
                            f"{connection.shown}: slot {slot} is being moved to another server: "
                            "see redis-cli --cluster check"
                        ) from None
                    hops, to, asking = 0, None, False
                    await asyncio.sleep(HANDING_OVER)
                elif hops < HOPS and await self._follow(refusal, connection, slot):
                    to = endpoint_in(refusal, connection.endpoint) if refusal.code in ("MOVED", "ASK") else None
                    asking = refusal.code == "ASK"
                else:
                    raise meaning(refusal, connection.shown) from None

    async def _answer(
        self, connection: Connection, request: Sequence[Argument], *, asking: bool = False, purpose: str = ""
    ) -> Any:
        try:
            if not asking and not purpose:
                return await connection.ask(request)
            # Side by side on the connection: what other coroutines ask cannot come between.
            asks = [connection.ask(("ASKING",))] if asking else []
            asks.append(connection.ask(request))
            if purpose:
                asks.append(connection.ask((*self._patience, int(self.address.timeout * 500))))
            replies: list[Any] = await asyncio.gather(*asks, return_exceptions=True)
        except asyncio.CancelledError:
            connection.retire()
            raise
        if purpose and isinstance(replies[-1], ErrorReply) and not isinstance(replies[-2], BaseException):
            raise StoreUncertain(f"it is there, but {meaning(replies[-1], connection.shown)}")
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        if purpose:
            asked = self.address
            here, there = replies[-1] if asked.fsync else (1, replies[-1])
            if there < asked.replicas or not here:
                who = f"only {there} of {asked.replicas} replicas" if here else "not even the master"
                had = "had it on disk" if asked.fsync else "had it"
                raise StoreUncertain(
                    f"{connection.shown}: {who} {had} within {asked.timeout / 2:g} s (?durability=replicated)"
                )
        return replies[-2] if purpose else replies[-1]

    async def _follow(self, refusal: ErrorReply, connection: Connection, slot: int | None) -> bool:
        """Learn from a reply of a server that was not the one to ask; tell whether to ask again."""
        match refusal.code:
            case "MOVED" if slot is not None:
                self._servers.slots.move(slot, endpoint_in(refusal, connection.endpoint))
                self._servers.learn_later()
            case "ASK":
                pass
            case "TRYAGAIN":
                await asyncio.sleep(HANDING_OVER)
            case "READONLY" | "MASTERDOWN":
                connection.retire()  # the name, the Sentinels or the Cluster may know another one by now
                if self.split:
                    await self._servers.learn()
            case _:
                return False
        return True

    async def _connection_for(self, purpose: str, slot: int | None, to: Endpoint | None) -> Connection:
        if not self.split:
            return await self._servers.get(purpose, None)
        endpoint = to or self._node_of(slot)
        if endpoint is None:
            await self._servers.learn()
            endpoint = self._node_of(slot)
            if endpoint is None:
                raise StoreUnavailable(f"{self.address.shown}: no node has slot {slot}: see redis-cli --cluster check")
        try:
            return self._servers.at_hand(purpose, endpoint) or await self._servers.get(purpose, endpoint)
        except StoreUnavailable:
            await self._servers.learn()  # another node may be the master by now
            now = self._node_of(slot)
            if now is None or now == endpoint:
                raise
            return await self._servers.get(purpose, now)

    def _node_of(self, slot: int | None) -> Endpoint | None:
        slots = self._servers.slots
        return slots.of(slot) if slot is not None else next(iter(slots.masters), None)

    async def _receive(self) -> None:
        """Stay subscribed; after each reconnection pass b"", because messages may have been missed."""
        while True:
            try:
                self._subscription = await self._servers.apart()
                try:
                    messages = await self._subscription.subscribe(self._channels)
                    self._pass_on(b"")
                    async for message in messages:
                        self._pass_on(message)
                finally:
                    await self._subscription.close()
            except (OSError, StoreError):
                pass  # the next request raises what this outage means
            await asyncio.sleep(RECONNECT)

    def _pass_on(self, message: bytes) -> None:
        if self._on_message is not None:
            self._on_message(message)
