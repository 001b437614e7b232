"""One connection to one server of Redis: requests of many coroutines, and published messages."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import hiredis

from outlast.clients.pipeline import PipelinedConnection
from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.core.errors import StoreUnavailable, StoreUncertain

__all__ = ["Connection"]

PING: Final = 10.0
"""Seconds of silence after which a subscribed connection sends a PING."""


class Connection(PipelinedConnection):
    """A connection of one event loop; made by `connect`. Its requests have the address's `timeout`."""

    def __init__(self, address: Address, endpoint: Endpoint) -> None:
        super().__init__(f"{'rediss' if address.secure else 'redis'}://{endpoint}", address.timeout)
        self.endpoint = endpoint
        self._reader = hiredis.Reader(protocolError=StoreUncertain, replyError=ErrorReply)
        self._pushed: asyncio.Queue[bytes | None] | None = None
        self._last_data = 0.0

    @classmethod
    async def connect(
        cls,
        address: Address,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None = None,
        setup: Sequence[Sequence[str | int]] | None = None,
    ) -> Connection:
        """Connect and send `setup`, within `connect_timeout`; raise StoreUnavailable, or StoreError for an error reply.

        setup: the first commands; by default those for the user and the database of the address.
        """
        loop = asyncio.get_running_loop()
        connection = cls(address, endpoint)
        try:
            async with asyncio.timeout(address.connect_timeout):
                if endpoint.path:
                    await loop.create_unix_connection(lambda: connection, endpoint.path)
                else:
                    await loop.create_connection(lambda: connection, endpoint.host, endpoint.port, ssl=tls)
                first = _setup(address) if setup is None else setup
                for reply in await asyncio.gather(*map(connection.ask, first), return_exceptions=True):
                    if isinstance(reply, BaseException):
                        raise reply
        except ErrorReply as refusal:
            await connection.close()
            raise meaning(refusal, connection.shown) from refusal
        except (OSError, StoreUncertain) as error:
            await connection.close()
            why = (
                f"no connection within {address.connect_timeout:g} s" if isinstance(error, TimeoutError) else str(error)
            )
            raise StoreUnavailable(
                f"{connection.shown} cannot be reached: {why.removeprefix(connection.shown + ': ')}"
            ) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    def ask(self, args: Sequence[Any]) -> asyncio.Future[Any]:
        """Send a request and return the future of its reply; it raises ErrorReply too (see `_send`)."""
        return self._send(hiredis.pack_command(tuple(args)))

    async def subscribe(self, channels: Sequence[str]) -> AsyncIterator[bytes]:
        """Subscribe to these channels and return their messages; the connection takes no other request from then on.

        The messages end with the connection, which is aborted if the server does not answer a PING.
        """
        self._pushed = asyncio.Queue()
        await self.ask(("SUBSCRIBE", *channels))
        self._last_data = self._loop.time()
        return self._messages(self._pushed)

    async def _messages(self, pushed: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(PING):
                    message = await pushed.get()
            except TimeoutError:
                if self.alive and self._transport is not None:
                    if self._loop.time() - self._last_data > PING + self._timeout:
                        self._abort("no answer to PING")
                    else:
                        self._transport.write(b"*1\r\n$4\r\nPING\r\n")
                continue
            if message is None:
                return
            yield message

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if self._pushed is not None and self._is_pushed(reply):
                    continue
                if not self._answer(reply):
                    return
        except StoreUncertain as error:  # a protocol error
            self._abort(str(error))
            return
        self._answered()

    def _is_pushed(self, reply: Any) -> bool:
        self._last_data = self._loop.time()
        if not isinstance(reply, list) or self._pushed is None:
            return not self._replies  # an answer to PING too: that this user may not send it
        if reply[0] == b"message":
            self._pushed.put_nowait(reply[2])
            return True
        # Answers to PING, and the replies for the second and later channels of a SUBSCRIBE.
        return reply[0] == b"pong" or not self._replies

    def _abort(self, why: str, kind: type[StoreUncertain] = StoreUncertain) -> None:
        """End the connection at once, and its messages."""
        super()._abort(why, kind)
        if self._pushed is not None:
            self._pushed.put_nowait(None)


def _setup(address: Address) -> list[Sequence[str | int]]:
    commands: list[Sequence[str | int]] = []
    if address.password:
        commands.append(("AUTH", *((address.user,) if address.user else ()), address.password))
    if address.db:
        commands.append(("SELECT", address.db))
    return commands
