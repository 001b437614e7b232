"""One connection to one server of Memcached, by its meta commands (doc/protocol.txt of Memcached)."""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from meta_memcache_socket import RESPONSE_SUCCESS, RESPONSE_VALUE, parse_header

from outlast.clients.pipeline import PipelinedConnection
from outlast.core.errors import StoreError, StoreFull, StoreUnavailable, StoreUncertain

__all__ = ["MemcachedConnection", "MemcachedReply", "ValueRefused"]

OLDEST: Final = (1, 6, 12)
"""The oldest version that is used. One before 1.6.8 reads `ms` in another way, and takes values for commands."""
LONGEST_LINE: Final = 2048
"""Bytes of a reply without its value."""
_VERSION: Final = re.compile(rb"VERSION (\d+)\.(\d+)\.(\d+)")


class ValueRefused(StoreError):
    """The value is larger than an item of this server may be. Nothing was stored."""


class MemcachedReply(NamedTuple):
    """A reply. done: the change was made; found: there is an item, of this value. In another line `value` is the line.

    cas: the number of the item's present state, 0 where it was not asked for, or the server has none.
    """

    done: bool = False
    found: bool = False
    value: bytes = b""
    cas: int = 0


class MemcachedConnection(PipelinedConnection):
    """A connection of one event loop; made by `connect`. server: "host:port"; timeout: seconds for each reply."""

    def __init__(self, server: str, timeout: float) -> None:
        super().__init__(f"memcached://{server}", timeout)
        self._buffer = bytearray()
        self._head: MemcachedReply | None = None
        """The reply whose value is still to come."""
        self._needed = 0
        """Bytes of that value, with the end of its line."""

    @classmethod
    async def connect(cls, server: str, timeout: float) -> MemcachedConnection:
        """Connect and read the server's version, within `timeout`; raise StoreUnavailable, StoreError."""
        loop = asyncio.get_running_loop()
        connection, parts = cls(server, timeout), urlsplit(f"//{server}")
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(lambda: connection, parts.hostname or "", parts.port or 0)
                line = (await connection.ask(b"version\r\n")).value
            connection._check_version(line)
        except (OSError, StoreUncertain) as error:
            await connection.close()
            why = f"no connection within {timeout:g} s" if isinstance(error, TimeoutError) else str(error)
            raise StoreUnavailable(
                f"{connection.shown} cannot be reached: {why.removeprefix(connection.shown + ': ')}"
            ) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    async def ask(self, request: bytes) -> MemcachedReply:
        """Send a request and return its reply.

        Raise ValueRefused, StoreFull, StoreError for what the server refuses, and what `_send` says. The reply to a
        cancelled call is dropped when it comes. The connection goes on: others are between two steps of a change, which
        must be on one connection.
        """
        reply: MemcachedReply = await self._send(request)
        return reply

    async def ask_all(self, *requests: bytes) -> list[MemcachedReply]:
        """Send requests that are done in this order, in one write; return their replies. Raise as `ask` does."""
        replies: list[MemcachedReply] = await asyncio.gather(*map(self._send, requests))
        return replies

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._buffer += data
        while self._buffer and (reply := self._read()) is not None:
            if not self._answer(reply):
                return
        self._answered()

    def _read(self) -> MemcachedReply | StoreError | None:
        """Take one whole reply from the buffer; None when it is not complete."""
        buffer = self._buffer
        if self._head is None:
            parsed = parse_header(buffer, 0, len(buffer))
            if parsed is None:
                if len(buffer) > LONGEST_LINE:
                    self._abort("an answer that is none of Memcached")
                return None
            end, code, size, flags = parsed
            if code is None:
                line = bytes(buffer[:end]).strip()
                del buffer[:end]
                return self._line(line)
            del buffer[:end]
            if code != RESPONSE_VALUE or size is None:
                return MemcachedReply(done=code == RESPONSE_SUCCESS)
            head = MemcachedReply(found=True, cas=(flags.cas_token or 0) if flags is not None else 0)
            self._head, self._needed = head, size + 2
        if len(buffer) < self._needed:
            return None
        reply, self._head = self._head, None
        value = bytes(buffer[: self._needed - 2])
        del buffer[: self._needed]
        return reply._replace(value=value)

    def _line(self, line: bytes) -> MemcachedReply | StoreError:
        """Return what a line means that is no reply of a meta command."""
        text = line.decode("ascii", "replace")
        if line.startswith(b"SERVER_ERROR object too large"):
            return ValueRefused(f"{self.shown} refuses a value of this size ({text})")
        if line.startswith(b"SERVER_ERROR out of memory"):
            return StoreFull(f"{self.shown} has no memory left: raise its -m, or start it without -M ({text})")
        if line.startswith((b"SERVER_ERROR", b"CLIENT_ERROR", b"ERROR")):
            if b"oo many open connections" in line:
                return StoreUncertain(f"{self.shown} has as many connections as its -c allows: raise it ({text})")
            return StoreError(f"{self.shown}: {text}")
        return MemcachedReply(value=line)

    def _check_version(self, line: bytes) -> None:
        found = _VERSION.match(line)
        if found is None or tuple(map(int, found.groups())) < OLDEST:
            raise StoreError(
                f"{self.shown} is no Memcached of 1.6.12 or newer ({line.decode('ascii', 'replace')[:40]!r}): update it"
            )
