"""All of this store's I/O: script calls, many of them in one round trip, and a bell; nothing else talks to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from outlast.brokers.redis.address import Address, Endpoint
from outlast.brokers.redis.connections import ServerConnections
from outlast.brokers.redis.facts import Facts
from outlast.brokers.redis.finding import endpoint_in, slot_of
from outlast.brokers.redis.refusals import ScriptRefused, meaning
from outlast.brokers.redis.scripts import Script
from outlast.brokers.redis.wire import Connection, Mute
from outlast.core.durability import Durability
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["Call", "RedisClient", "ScriptRefused"]

Argument = bytes | str | int | float

RECONNECT: Final = 0.25
"""Seconds between two attempts to hear the bell again."""
HOPS: Final = 5
"""How often a request that was not done is sent anew: to where the server says, or to the new master."""
HANDING_OVER: Final = 0.05
"""Seconds to wait for a slot that is just handed over."""


class Call(Struct, frozen=True):
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]


class RedisClient:
    """A server, the master of a Sentinel setup, or a Cluster; for one event loop.

    All calls raise Refused for an error reply that only the caller can understand; StoreUnavailable when nothing was
    done, StoreUncertain when the connection ended before the answer, StoreFull, StoreError. A call that is cancelled
    retires its connection: what others have asked on it is still answered, and nothing more is asked on it.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.split: Final = address.kind == "cluster"
        """The queues lie on several servers: one call may then name the keys of one queue only."""
        self._to = ServerConnections(address)
        # How a call that must be sure goes on, but for the milliseconds.
        self._patience = ("WAITAOF", 1, address.replicas) if address.fsync else ("WAIT", address.replicas)
        self._bell: Connection | None = None
        self._heard: Callable[[bytes], None] | None = None
        self._channels: list[str] = []
        self._listening: asyncio.Task[None] | None = None

    @property
    def durability(self) -> tuple[Durability, float]:
        """What an accepted job survives, and of how many seconds' acceptance a crash beyond it may lose, as of now."""
        return self._to.durability

    @property
    def facts(self) -> Mapping[Endpoint, Facts]:
        """What each master that was connected to is like."""
        return self._to.facts

    @property
    def silent(self) -> int:
        """How many masters of a Cluster have not been reached yet."""
        return sum(each not in self._to.facts for each in self._to.slots.masters)

    async def open(self) -> None:
        """Connect; raise StoreUnavailable, StoreError. Opening twice is a no-op."""
        await self._to.open()

    async def close(self) -> None:
        """Let go of the server; what was sent and not answered raises StoreUncertain."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        await self._to.close()

    async def command(self, *args: Argument, key: str | None = None) -> Any:
        """Send one plain command and return its reply. key: where a Cluster is asked, by default its first argument."""
        return await self._ask(args, self._slot(key if key is not None or len(args) < 2 else str(args[1])))

    async def everywhere(self, *args: Argument) -> list[Any]:
        """Send one plain command to every master, and return their replies."""
        if not self.split:
            return [await self._ask(args, None)]
        await self._to.learn()
        wires = [await self._to.get("", endpoint) for endpoint in self._to.slots.masters]
        try:
            return list(await asyncio.gather(*(self._answer(wire, args) for wire in wires)))
        except ScriptRefused as refusal:
            raise meaning(refusal, self.address.shown) from None

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
        lane = "sure" if sure and self.address.replicas else ""
        try:
            return await self._ask(request, slot, script=script, lane=lane)
        except Mute:
            raise
        except StoreUncertain as error:
            if not again:
                raise
            lost = error
        try:
            return await self._ask(request, slot, script=script, lane=lane)
        except StoreUncertain:
            raise
        except StoreUnavailable as error:
            raise StoreUncertain(f"{lost}; then {error}") from error

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make calls in one round trip; their replies in order. Raise the first error after all were answered."""
        if len(calls) == 1:
            return [await self.run(calls[0].script, calls[0].keys, calls[0].args)]
        replies = await asyncio.gather(
            *(self.run(call.script, call.keys, call.args) for call in calls), return_exceptions=True
        )
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    def listen(self, channels: Sequence[str], heard: Callable[[bytes], None]) -> None:
        """Call `heard` with each message on `channels`; with b"" when some may have been missed."""
        self._heard = heard
        if self._listening is None:
            self._channels = list(channels)
            self._listening = asyncio.create_task(self._hear(), name="outlast-redis-bell")
        elif self._channels != list(channels):
            self._channels = list(channels)
            if self._bell is not None:
                self._bell.retire()  # and subscribes anew

    def _slot(self, key: str | None) -> int | None:
        return slot_of(key) if self.split and key is not None else None

    async def _ask(
        self, request: Sequence[Argument], slot: int | None, *, script: Script | None = None, lane: str = ""
    ) -> Any:
        """Send a request to where its slot lies and return the reply. What was not done is sent anew."""
        send, to, asking, hops, patience = request, None, False, 0, self.address.timeout / 2
        while True:
            wire = None if self.split else self._to.at_hand(lane, None)
            if wire is None:
                wire = await self._wire(lane, slot, to)
            try:
                if asking or lane:
                    return await self._answer(wire, send, asking=asking, lane=lane)
                return await wire.ask(send)
            except asyncio.CancelledError:
                wire.retire()
                raise
            except ScriptRefused as refusal:
                hops += 1
                if refusal.code == "NOSCRIPT" and script is not None and send is request:
                    send = ("EVAL", script.text, *request[2:])
                elif refusal.code == "ASK" and script is not None:
                    # The keys of its slot are on their way, some here and some there: a script would miss either.
                    patience -= HANDING_OVER
                    if patience < 0:
                        raise StoreUnavailable(
                            f"{wire.shown}: slot {slot} is being moved to another server: see redis-cli --cluster check"
                        ) from None
                    hops, to, asking = 0, None, False
                    await asyncio.sleep(HANDING_OVER)
                elif hops < HOPS and await self._follow(refusal, wire, slot):
                    to = endpoint_in(refusal, wire.endpoint) if refusal.code in ("MOVED", "ASK") else None
                    asking = refusal.code == "ASK"
                else:
                    raise meaning(refusal, wire.shown) from None

    async def _answer(
        self, wire: Connection, request: Sequence[Argument], *, asking: bool = False, lane: str = ""
    ) -> Any:
        try:
            if not asking and not lane:
                return await wire.ask(request)
            # Side by side on the wire: what other coroutines ask cannot come between.
            asks = [wire.ask(("ASKING",))] if asking else []
            asks.append(wire.ask(request))
            if lane:
                asks.append(wire.ask((*self._patience, int(self.address.timeout * 500))))
            replies: list[Any] = await asyncio.gather(*asks, return_exceptions=True)
        except asyncio.CancelledError:
            wire.retire()
            raise
        if lane and isinstance(replies[-1], ScriptRefused) and not isinstance(replies[-2], BaseException):
            raise StoreUncertain(f"it is there, but {meaning(replies[-1], wire.shown)}")
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        if lane:
            asked = self.address
            here, there = replies[-1] if asked.fsync else (1, replies[-1])
            if there < asked.replicas or not here:
                who = f"only {there} of {asked.replicas} replicas" if here else "not even the master"
                had = "had it on disk" if asked.fsync else "had it"
                raise StoreUncertain(
                    f"{wire.shown}: {who} {had} within {asked.timeout / 2:g} s (?durability=replicated)"
                )
        return replies[-2] if lane else replies[-1]

    async def _follow(self, refusal: ScriptRefused, wire: Connection, slot: int | None) -> bool:
        """Learn from a reply of a server that was not the one to ask; tell whether to ask again."""
        match refusal.code:
            case "MOVED" if slot is not None:
                self._to.slots.move(slot, endpoint_in(refusal, wire.endpoint))
                self._to.learn_later()
            case "ASK":
                pass
            case "TRYAGAIN":
                await asyncio.sleep(HANDING_OVER)
            case "READONLY" | "MASTERDOWN":
                wire.retire()  # the name, the Sentinels or the Cluster may know another one by now
                if self.split:
                    await self._to.learn()
            case _:
                return False
        return True

    async def _wire(self, lane: str, slot: int | None, to: Endpoint | None) -> Connection:
        if not self.split:
            return await self._to.get(lane, None)
        endpoint = to or self._node_of(slot)
        if endpoint is None:
            await self._to.learn()
            endpoint = self._node_of(slot)
            if endpoint is None:
                raise StoreUnavailable(f"{self.address.shown}: no node has slot {slot}: see redis-cli --cluster check")
        try:
            return self._to.at_hand(lane, endpoint) or await self._to.get(lane, endpoint)
        except StoreUnavailable:
            await self._to.learn()  # somebody else may be the master by now
            now = self._node_of(slot)
            if now is None or now == endpoint:
                raise
            return await self._to.get(lane, now)

    def _node_of(self, slot: int | None) -> Endpoint | None:
        slots = self._to.slots
        return slots.of(slot) if slot is not None else next(iter(slots.masters), None)

    async def _hear(self) -> None:
        """Stay subscribed; after each reconnection tell that something may have been missed."""
        while True:
            try:
                self._bell = await self._to.apart()
                try:
                    messages = await self._bell.subscribe(self._channels)
                    self._ring(b"")
                    async for message in messages:
                        self._ring(message)
                finally:
                    await self._bell.close()
            except (OSError, StoreError):
                pass  # whoever asks something tells of the outage
            await asyncio.sleep(RECONNECT)

    def _ring(self, message: bytes) -> None:
        if self._heard is not None:
            self._heard(message)
