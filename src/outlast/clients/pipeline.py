"""One connection whose requests are many at once: replies come in the order of requests, each within its time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, cast

from outlast.aio.sockets import detect_dead_peer
from outlast.core.errors import StoreUnavailable, StoreUncertain

__all__ = ["PipelinedConnection", "ReplyTimeout"]


class ReplyTimeout(StoreUncertain):
    """The server did not reply in time."""


class PipelinedConnection(asyncio.Protocol):
    """A connection of one event loop to a server that replies to requests in their order.

    shown: the server, for errors. Every request gets its reply, or fails, within `timeout` seconds: the connection is
    aborted if a reply is overdue, and all its open requests raise StoreUncertain. Replies are matched to requests by
    their order alone. A subclass reads replies in `data_received`, and gives each to `_answer`.
    """

    def __init__(self, shown: str, timeout: float) -> None:
        self.alive = False
        self.shown: Final = shown
        self._timeout = timeout
        self._replies: deque[asyncio.Future[Any]] = deque()
        self._due: deque[float] = deque()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def _send(self, packed: bytes) -> asyncio.Future[Any]:
        """Send a request and return the future of its reply.

        It raises what `_answer` was given; StoreUncertain if the connection ends before the reply (ReplyTimeout if the
        reply is overdue); StoreUnavailable if the connection had ended before the request.
        """
        reply: asyncio.Future[Any] = self._loop.create_future()
        if not self.alive:
            reply.set_exception(StoreUnavailable(f"{self.shown}: the connection is closed"))
            return reply
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

    def _answer(self, reply: Any) -> bool:
        """Give the oldest request its reply, or the exception that it raises; return False without a request."""
        if not self._replies:
            self._abort("a reply without a request")
            return False
        future = self._replies.popleft()
        self._due.popleft()
        if future.done():
            return True
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
        return True

    def _answered(self) -> None:
        """End a retired connection that owes no reply; called when all received bytes are read."""
        if not self._replies and not self.alive:
            self._abort("retired")

    def retire(self) -> None:
        """Accept no more requests; end when the sent ones have their replies. For a cancelled request."""
        self.alive = False
        self._answered()

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

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._abort(str(exc or "the server closed the connection"))

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
