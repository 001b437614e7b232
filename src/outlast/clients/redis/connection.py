"""One connection to one server: requests of many coroutines, pipelined by themselves, answered in their order."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

import hiredis

from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.core.errors import StoreUnavailable, StoreUncertain

__all__ = ["ReplyTimeout", "Connection"]

KEEPALIVE: Final = 15
"""Seconds of silence after which the system asks whether the other end is still there."""
PING: Final = 10.0
"""Seconds of silence after which a subscribed connection asks for a sign of life."""


class ReplyTimeout(StoreUncertain):
    """The server did not answer in time."""


class Connection(asyncio.Protocol):
    """Made by `connect`, in one event loop.

    Every request is answered, or fails, within the address's `timeout`: a connection that leaves one unanswered longer
    is cut, and all that it was asked is uncertain. Replies come in the order of requests, so that no reply can reach
    another request; a connection that was asked something for nobody is retired all the same.
    """

    def __init__(self, address: Address, endpoint: Endpoint) -> None:
        self.alive = False
        self.endpoint = endpoint
        self.shown = f"{'rediss' if address.secure else 'redis'}://{endpoint}"
        self._timeout = address.timeout
        self._reader = hiredis.Reader(protocolError=StoreUncertain, replyError=ErrorReply)
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._due: deque[float] = deque()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._pushed: asyncio.Queue[bytes | None] | None = None
        self._heard = 0.0

    @classmethod
    async def connect(
        cls,
        address: Address,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None = None,
        greetings: Sequence[Sequence[str | int]] | None = None,
    ) -> Connection:
        """Connect and greet, within `connect_timeout`; raise StoreUnavailable, or StoreError for who we are not.

        greetings: the commands to begin with; by default those of the address's user, database and name.
        """
        loop = asyncio.get_running_loop()
        connection = cls(address, endpoint)
        try:
            async with asyncio.timeout(address.connect_timeout):
                if endpoint.path:
                    await loop.create_unix_connection(lambda: connection, endpoint.path)
                else:
                    await loop.create_connection(lambda: connection, endpoint.host, endpoint.port, ssl=tls)
                begin = _greetings(address) if greetings is None else greetings
                for reply in await asyncio.gather(*map(connection.ask, begin), return_exceptions=True):
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

        It raises ErrorReply; StoreUncertain when the connection ends before the reply (ReplyTimeout when none came in
        time); StoreUnavailable when it had ended already.
        """
        answer: asyncio.Future[Any] = self._loop.create_future()
        if not self.alive:
            answer.set_exception(StoreUnavailable(f"{self.shown}: the connection is closed"))
            return answer
        packed = hiredis.pack_command(tuple(args))
        idle = not self._asked
        self._asked.append(answer)
        due = self._loop.time() + self._timeout
        self._due.append(due)
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._look)
        if idle:  # nothing to go along with: at once
            self._write(packed)
        else:
            if not self._out:
                self._loop.call_soon(self._flush)  # what else is asked in this turn of the loop goes along
            self._out.append(packed)
        return answer

    def retire(self) -> None:
        """Take no more requests, and end when those that were sent are answered: somebody has let one of them go."""
        self.alive = False
        if not self._asked:
            self._cut("retired")

    async def subscribe(self, channels: Sequence[str]) -> AsyncIterator[bytes]:
        """Hear messages of these channels from now on, and nothing else on this connection.

        The messages end with the connection, which is cut when the server gives no sign of life any more.
        """
        self._pushed = asyncio.Queue()
        await self.ask(("SUBSCRIBE", *channels))
        self._heard = self._loop.time()
        return self._messages(self._pushed)

    async def _messages(self, pushed: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(PING):
                    message = await pushed.get()
            except TimeoutError:
                if self.alive and self._transport is not None:
                    if self._loop.time() - self._heard > PING + self._timeout:
                        self._cut("no sign of life")
                    else:
                        self._transport.write(b"*1\r\n$4\r\nPING\r\n")
                continue
            if message is None:
                return
            yield message

    async def close(self) -> None:
        """End the connection."""
        self._cut("the connection was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.alive = True
        found = transport.get_extra_info("socket")
        if found is not None and found.family != socket.AF_UNIX:
            _tune(found, self._timeout)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if self._pushed is not None and self._is_pushed(reply):
                    continue
                if not self._asked:
                    self._cut("an answer that nobody has asked for")
                    return
                answer = self._asked.popleft()
                self._due.popleft()
                if answer.done():
                    continue
                if isinstance(reply, Exception):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except StoreUncertain as error:  # not Redis's protocol
            self._cut(str(error))
            return
        if not self._asked and not self.alive:
            self._cut("retired")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._cut(str(exc or "the server closed the connection"))

    def _is_pushed(self, reply: Any) -> bool:
        self._heard = self._loop.time()
        if not isinstance(reply, list) or self._pushed is None:
            return False
        if reply[0] == b"message":
            self._pushed.put_nowait(reply[2])
            return True
        # Signs of life, and the replies to the second and later channels of a SUBSCRIBE.
        return reply[0] == b"pong" or not self._asked

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out:
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _look(self) -> None:
        """Cut the connection when its oldest request is overdue, else look again when that would be."""
        self._watch = None
        if not self._due:
            return
        if self._due[0] <= self._loop.time():
            self._cut(f"no answer within {self._timeout:g} s", ReplyTimeout)
        else:
            self._watch = self._loop.call_at(self._due[0], self._look)

    def _cut(self, why: str, kind: type[StoreUncertain] = StoreUncertain) -> None:
        """End the connection at once; whoever waits for an answer does not get it."""
        self.alive = False
        self._out.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        self._due.clear()
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(kind(f"{self.shown}: {why}"))
                answer.exception()  # whoever asked may have gone
        if self._pushed is not None:
            self._pushed.put_nowait(None)


def _greetings(address: Address) -> list[Sequence[str | int]]:
    found: list[Sequence[str | int]] = []
    if address.password:
        found.append(("AUTH", *((address.user,) if address.user else ()), address.password))
    if address.db:
        found.append(("SELECT", address.db))
    return found


def _tune(connected: socket.socket, timeout: float) -> None:
    """Have the system itself give up on a peer that does not acknowledge; asyncio has set TCP_NODELAY."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # End with a reset: nothing is left to send by then, and many that end at once must not keep their ports in use.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE),
        ("TCP_KEEPALIVE", KEEPALIVE),  # the same, on macOS
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", max(1, int(timeout * 1000))),
    ):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
