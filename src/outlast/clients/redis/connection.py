"""One connection to one server: pipelines the requests of many coroutines; replies come in the order of requests."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

import hiredis

from outlast.aio.sockets import detect_dead_peer
from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.core.errors import StoreUnavailable, StoreUncertain

__all__ = ["ReplyTimeout", "Connection"]

PING: Final = 10.0
"""Seconds of silence after which a subscribed connection sends a PING."""


class ReplyTimeout(StoreUncertain):
    """The server did not reply in time."""


class Connection(asyncio.Protocol):
    """A connection of one event loop; made by `connect`.

    Every request gets its reply, or fails, within the address's `timeout`: the connection is aborted if a reply is
    overdue, and all its open requests raise StoreUncertain. Replies are matched to requests by their order alone.
    """

    def __init__(self, address: Address, endpoint: Endpoint) -> None:
        self.alive = False
        self.endpoint = endpoint
        self.shown = f"{'rediss' if address.secure else 'redis'}://{endpoint}"
        self._timeout = address.timeout
        self._reader = hiredis.Reader(protocolError=StoreUncertain, replyError=ErrorReply)
        self._replies: deque[asyncio.Future[Any]] = deque()
        self._due: deque[float] = deque()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
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
        """Send a request and return the future of its reply.

        It raises ErrorReply; StoreUncertain if the connection ends before the reply (ReplyTimeout if the reply is
        overdue); StoreUnavailable if the connection had ended before the request.
        """
        reply: asyncio.Future[Any] = self._loop.create_future()
        if not self.alive:
            reply.set_exception(StoreUnavailable(f"{self.shown}: the connection is closed"))
            return reply
        packed = hiredis.pack_command(tuple(args))
        idle = not self._replies
        self._replies.append(reply)
        due = self._loop.time() + self._timeout
        self._due.append(due)
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._check_due)
        if idle:
            self._write(packed)
        else:
            if not self._out:
                self._loop.call_soon(self._flush)  # one write for all requests of this turn of the loop
            self._out.append(packed)
        return reply

    def retire(self) -> None:
        """Accept no more requests; end when the sent ones have their replies. For a cancelled request."""
        self.alive = False
        if not self._replies:
            self._abort("retired")

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

    async def close(self) -> None:
        """End the connection."""
        self._abort("the connection was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is no subclass
        self.alive = True
        found = transport.get_extra_info("socket")
        if found is not None:
            detect_dead_peer(found, self._timeout)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if self._pushed is not None and self._is_pushed(reply):
                    continue
                if not self._replies:
                    self._abort("a reply without a request")
                    return
                future = self._replies.popleft()
                self._due.popleft()
                if future.done():
                    continue
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except StoreUncertain as error:  # a protocol error
            self._abort(str(error))
            return
        if not self._replies and not self.alive:
            self._abort("retired")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._abort(str(exc or "the server closed the connection"))

    def _is_pushed(self, reply: Any) -> bool:
        self._last_data = self._loop.time()
        if not isinstance(reply, list) or self._pushed is None:
            return not self._replies  # an answer to PING too: that this user may not send it
        if reply[0] == b"message":
            self._pushed.put_nowait(reply[2])
            return True
        # Answers to PING, and the replies for the second and later channels of a SUBSCRIBE.
        return reply[0] == b"pong" or not self._replies

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out:
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _check_due(self) -> None:
        """Abort the connection if its oldest request is overdue, else check again when it would be."""
        self._watch = None
        if not self._due:
            return
        if self._due[0] <= self._loop.time():
            self._abort(f"no answer within {self._timeout:g} s", ReplyTimeout)
        else:
            self._watch = self._loop.call_at(self._due[0], self._check_due)

    def _abort(self, why: str, kind: type[StoreUncertain] = StoreUncertain) -> None:
        """End the connection at once; its open requests raise `kind`."""
        self.alive = False
        self._out.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        self._due.clear()
        while self._replies:
            reply = self._replies.popleft()
            if not reply.done():
                reply.set_exception(kind(f"{self.shown}: {why}"))
                reply.exception()  # else asyncio logs it if the caller was cancelled
        if self._pushed is not None:
            self._pushed.put_nowait(None)


def _setup(address: Address) -> list[Sequence[str | int]]:
    commands: list[Sequence[str | int]] = []
    if address.password:
        commands.append(("AUTH", *((address.user,) if address.user else ()), address.password))
    if address.db:
        commands.append(("SELECT", address.db))
    return commands
