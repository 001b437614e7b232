"""One connection to one server: requests of many coroutines, pipelined by themselves, answered in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import hiredis

from outlast.brokers.redis.address import Address
from outlast.core.errors import StoreError, StoreUnavailable

__all__ = ["Refused", "Wire"]

CONNECT: Final = 5.0
"""Seconds for a connection, handshake included."""


class Refused(StoreError):
    """The server answered with an error. code: its first word, such as "NOSCRIPT"."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class Wire(asyncio.Protocol):
    """Made by `connect`. Replies come in the order of requests, so a request that nobody waits for any more is safe."""

    def __init__(self, address: Address) -> None:
        self.alive = False
        self._address = address
        self._reader = hiredis.Reader(protocolError=StoreUnavailable, replyError=Refused)
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._pushed: asyncio.Queue[bytes | None] | None = None

    @classmethod
    async def connect(cls, address: Address) -> Wire:
        """Connect and greet; raise StoreUnavailable within CONNECT seconds."""
        loop = asyncio.get_running_loop()
        wire = cls(address)
        try:
            async with asyncio.timeout(CONNECT):
                if address.path:
                    await loop.create_unix_connection(lambda: wire, address.path)
                else:
                    await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls())
                if address.password:
                    await wire.ask(("AUTH", *((address.user,) if address.user else ()), address.password))
                if address.db:
                    await wire.ask(("SELECT", address.db))
        except (OSError, TimeoutError, Refused) as error:
            await wire.close()
            raise StoreUnavailable(f"{address.shown}: {error or type(error).__name__}") from error
        return wire

    def ask(self, args: Sequence[Any]) -> asyncio.Future[Any]:
        """Send a request; its reply, or Refused, or StoreUnavailable when the connection ends before it."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if not self.alive:
            answer.set_exception(StoreUnavailable(f"{self._address.shown}: the connection is closed"))
            return answer
        self._asked.append(answer)
        if not self._out:
            self._loop.call_soon(self._flush)  # what else is asked in this turn of the loop goes along
        self._out.append(hiredis.pack_command(tuple(args)))
        return answer

    async def subscribe(self, channels: Sequence[str]) -> AsyncIterator[bytes]:
        """Hear messages of these channels from now on, and nothing else on this connection."""
        self._pushed = asyncio.Queue()
        await self.ask(("SUBSCRIBE", *channels))
        return self._messages(self._pushed)

    async def _messages(self, pushed: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (message := await pushed.get()) is not None:
            yield message

    async def close(self) -> None:
        """End the connection."""
        self.alive = False
        if self._transport is not None:
            self._transport.abort()
        self._end(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.alive = True

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if self._pushed is not None and isinstance(reply, list) and reply[0] == b"message":
                self._pushed.put_nowait(reply[2])
                continue
            if not self._asked:
                continue  # the replies to the second and later channels of a SUBSCRIBE
            answer = self._asked.popleft()
            if answer.done():
                continue
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self.alive = False
        self._end(exc)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and self.alive:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _end(self, exc: Exception | None) -> None:
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(StoreUnavailable(f"{self._address.shown}: {exc or 'the connection was closed'}"))
                answer.exception()  # whoever asked may have gone
        if self._pushed is not None:
            self._pushed.put_nowait(None)
