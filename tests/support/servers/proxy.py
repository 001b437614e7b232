"""A TCP proxy that fails on demand: it delays, cuts at a byte, resets, or goes deaf and mute in mid connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Faults", "Proxy", "proxied"]

CHUNK: Final = 65536


@dataclass
class Faults:
    """What to do to the connections. May be changed at any time; all that is None or False is left alone.

    delay: seconds before each piece is passed on. cut_up, cut_down: pass on so many more bytes, of all connections
    together, to the server or to the client, then reset the connection that would have passed the next one.
    deaf: read no more, in both directions, so that both ends fill up; what was read is not passed on (half-open).
    refuse: reset every new connection at once. hold: accept new ones, and say nothing to them for ever.
    """

    delay: float = 0.0
    cut_up: int | None = None
    cut_down: int | None = None
    deaf: bool = False
    refuse: bool = False
    hold: bool = False


@dataclass
class Proxy:
    """One proxy: between clients of `port` and a server at `target`."""

    target: tuple[str, int]
    faults: Faults = field(default_factory=Faults)
    port: int = 0
    up: int = 0
    """Bytes that were passed on to the server."""
    down: int = 0
    """Bytes that were passed on to clients."""
    accepted: int = 0
    """Connections, ever."""
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _hearing: asyncio.Event = field(default_factory=asyncio.Event)

    def heal(self) -> None:
        """Go back to passing on all there is."""
        self.faults = Faults()
        self._hearing.set()

    def deafen(self) -> None:
        """Pass on nothing more, while every connection stays open."""
        self.faults.deaf = True
        self._hearing.clear()

    def reset(self) -> None:
        """Reset every connection that is open."""
        for writer in list(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.faults.refuse:
            _reset(writer)
            return
        self._open.add(writer)
        try:
            if self.faults.hold:
                await asyncio.Event().wait()
            try:
                there, back = await asyncio.open_connection(*self.target)
            except OSError:
                _reset(writer)
                return
            self._open.add(back)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, back, upwards=True))
                    both.create_task(self._pump(there, writer, upwards=False))
            except* (OSError, EOFError):
                _reset(writer)
                _reset(back)
            finally:
                self._open.discard(back)
                back.transport.abort()
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, upwards: bool) -> None:
        while True:
            if self.faults.deaf:
                await self._hearing.wait()
            data = await source.read(CHUNK)
            if not data:
                raise EOFError
            if self.faults.deaf:
                await self._hearing.wait()
            if self.faults.delay:
                await asyncio.sleep(self.faults.delay)
            left = self.faults.cut_up if upwards else self.faults.cut_down
            passed = data if left is None else data[:left]
            if passed:
                sink.write(passed)
                await sink.drain()
            self._count(len(passed), upwards=upwards)
            if len(passed) < len(data):
                # Past the kernel's buffers first: a reset throws away what the other end has not read yet.
                await asyncio.sleep(0.002 if passed else 0)
                raise ConnectionResetError("cut")

    def _count(self, number: int, *, upwards: bool) -> None:
        if upwards:
            self.up += number
            if self.faults.cut_up is not None:
                self.faults.cut_up -= number
        else:
            self.down += number
            if self.faults.cut_down is not None:
                self.faults.cut_down -= number

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _stop(self) -> None:
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(port: int, *, host: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    """Stand before a server for the block, on a free port of this host."""
    proxy = Proxy((host, port))
    server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    proxy.heal()
    try:
        yield proxy
    finally:
        server.close()
        await proxy._stop()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, as a host does that has lost it."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
