"""All of this store's I/O: script calls, many of them in one round trip, and a bell; nothing else talks to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from outlast.brokers.redis.address import Address
from outlast.brokers.redis.scripts import Script
from outlast.brokers.redis.wire import Refused, Wire
from outlast.core.errors import StoreError, StoreUnavailable

__all__ = ["Call", "Link", "Refused"]

Argument = bytes | str | int | float

RECONNECT: Final = 0.25
"""Seconds between two attempts to hear the bell again."""


class Call(Struct, frozen=True):
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]


class Link:
    """One server: a connection for calls, shared by all coroutines, and one for the bell. One event loop."""

    split: Final = False
    """The queues lie on several servers: one call may then name the keys of one queue only."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._wire: Wire | None = None
        self._bell: Wire | None = None
        self._lock = asyncio.Lock()
        self._heard: Callable[[bytes], None] | None = None
        self._channels: list[str] = []
        self._listening: asyncio.Task[None] | None = None
        self._open = False

    async def open(self) -> None:
        """Connect; raise StoreUnavailable. Opening twice is a no-op."""
        self._open = True
        await self._connected()

    async def close(self) -> None:
        """Let go of the server; what was sent and not answered raises StoreUnavailable."""
        self._open = False
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        for wire in (self._wire, self._bell):
            if wire is not None:
                await wire.close()
        self._wire = self._bell = None

    async def command(self, *args: Argument) -> Any:
        """Send one plain command and return its reply; raise Refused for an error reply, StoreUnavailable."""
        wire = await self._connected()
        return await wire.ask(args)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Call a script by its digest, loaded where the server does not know it; raise as `command` does."""
        wire = self._wire if self._wire is not None and self._wire.alive else await self._connected()
        try:
            return await wire.ask(("EVALSHA", script.sha, len(keys), *keys, *args))
        except Refused as refusal:
            if refusal.code != "NOSCRIPT":
                raise
        return await wire.ask(("EVAL", script.text, len(keys), *keys, *args))

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Make calls in one round trip; their replies in order. Raise the first error after all were answered."""
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
        self._channels = list(channels)
        if self._listening is None:
            self._listening = asyncio.create_task(self._hear(), name="outlast-redis-bell")

    async def _connected(self) -> Wire:
        if self._wire is not None and self._wire.alive:
            return self._wire
        if not self._open:
            raise StoreUnavailable(f"{self.address.shown} is not open here: await open() before use")
        async with self._lock:
            if self._wire is None or not self._wire.alive:
                self._wire = await Wire.connect(self.address)
            return self._wire

    async def _hear(self) -> None:
        """Stay subscribed; after each reconnection tell that something may have been missed."""
        while True:
            try:
                self._bell = await Wire.connect(self.address)
                messages = await self._bell.subscribe(self._channels)
                self._ring(b"")
                async for message in messages:
                    self._ring(message)
            except (OSError, StoreError):
                pass
            await asyncio.sleep(RECONNECT)

    def _ring(self, message: bytes) -> None:
        if self._heard is not None:
            self._heard(message)
