"""An ASGI app behind a real uvicorn on the loop of the test, at a port that the kernel chooses, and plain clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

__all__ = ["Answer", "Client", "serving"]


class Answer(NamedTuple):
    """A whole answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, raw: bytes) -> None:
        """Send bytes."""
        self._writer.write(raw)

    def begin(self, path: str, *headers: str, method: str = "GET") -> None:
        """Send the head of a request."""
        lines = [f"{method} {path} HTTP/1.1", "host: test", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    async def answer(self) -> Answer:
        """Read a whole answer that has a Content-Length."""
        status, headers = await self.head()
        return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(first.split(" ")[1]), {
            name.lower(): value for name, value in (line.split(": ", 1) for line in lines)
        }

    async def get(self, path: str, *headers: str) -> Answer:
        """Make a request."""
        self.begin(path, *headers)
        return await self.answer()

    def vanish(self) -> None:
        """Close the connection without a word."""
        self._writer.transport.abort()


class Served:
    """A server that runs."""

    def __init__(self, port: int, clients: contextlib.AsyncExitStack) -> None:
        self.port = port
        self._clients = clients

    async def client(self) -> Client:
        """Connect."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.callback(client.vanish)
        return client

    async def get(self, path: str, *headers: str) -> Answer:
        """Make one request on a connection of its own."""
        return await (await self.client()).get(path, *headers)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, **config: Any) -> AsyncIterator[Served]:
    """Serve the app while the block runs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=0, **config))
    ready = asyncio.Event()
    startup = server.startup

    async def started(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve([listener]))
    async with contextlib.AsyncExitStack() as clients:
        waits = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waits), return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), "the server did not start"
        try:
            yield Served(listener.getsockname()[1], clients)
        finally:
            await clients.aclose()
            server.should_exit = True
            await task
