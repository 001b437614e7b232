"""The HTTP server of a supervisor: a table of pages that are read with GET, for probes and for Prometheus.

h11 parses; what is here bounds what a client may cost the process that keeps the workers alive: connections, the time
of a request, of a page and of its way out. One request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.listen import address_of
from outlast.core.text import shown

if TYPE_CHECKING:
    import h11

__all__ = ["Page", "PageReply", "PageRequest", "PageServer", "checked_listen"]

_logger = logging.getLogger("outlast.supervisor")

_PATIENCE: Final = 5.0
"""Seconds that a client has to send its request, and again to read the answer."""
_PAGE_TIME: Final = 10.0
"""Seconds that a page may take: the timeout of a scrape."""
_MOST: Final = 64
"""Connections at a time. One more ends the oldest: an idle client must not keep a probe out."""
_LONGEST_HEAD: Final = 16384
_AGAIN: Final = 5.0
"""Seconds between two tries to listen on an address that is taken."""


class PageRequest(Struct, frozen=True):
    """What a page may read of a request. query: the values of each name. headers: by name in lower case."""

    path: str
    query: Mapping[str, list[str]] = {}
    headers: Mapping[str, str] = {}


class PageReply(Struct, frozen=True):
    """An answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


Page = Callable[[PageRequest], Awaitable[PageReply]]


def checked_listen(listen: str, setting: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT", ":PORT" or "PORT"; the host is 127.0.0.1 where none is given.

    Raise ConfigurationError that names the setting.
    """
    found = address_of(listen)
    if found is None:
        raise ConfigurationError(f"{setting}={shown(listen)}: give an address such as '127.0.0.1:9464' or '[::1]:9464'")
    return found


class PageServer:
    """Serves the pages of `pages`, by path; entries may be added at any time."""

    def __init__(self, pages: MutableMapping[str, Page]) -> None:
        self.pages: Final = pages
        self.address: tuple[str, int] | None = None
        """Where it listens; None while it does not."""
        self._late: set[str] = set()
        """Pages that the log has told of, and that have not been made since."""
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(self, host: str, port: int) -> None:
        """Serve until cancelled. While it cannot listen, say so once and try again every few seconds."""
        told = ""
        while True:
            try:
                sock = await asyncio.to_thread(_listening, host, port)
            except OSError as error:
                why = _why(error)
                if why != told:
                    told = why
                    _logger.error(  # noqa: TRY400 - the line is for the operator
                        "cannot listen on %s:%d (%s): no probe and no scrape reaches this service over HTTP, jobs run "
                        "all the same; free the port, or give another address with --listen or OUTLAST_LISTEN",
                        host,
                        port,
                        why,
                    )
                await asyncio.sleep(_AGAIN)
                continue
            await self._serve(sock)

    async def _serve(self, sock: socket.socket) -> None:
        server = await asyncio.start_server(self._accepted, sock=sock, limit=_LONGEST_HEAD)
        host, port = sock.getsockname()[:2]
        self.address = (host, port)
        _logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        try:
            await asyncio.get_running_loop().create_future()  # serve_forever would wait for each client at the end
        finally:
            self.address = None
            server.close()
            for writer in self._connections.values():
                writer.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        if len(self._connections) > _MOST:
            oldest = next(iter(self._connections))
            self._connections.pop(oldest).transport.abort()
            oldest.cancel()
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        except Exception:  # of whatever kind: a page ends no worker
            _logger.exception("a request could not be answered")
            writer.transport.abort()
        finally:
            self._connections.pop(task, None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11

        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        request = None
        try:
            async with asyncio.timeout(_PATIENCE):
                request = await _request(connection, reader)
        except h11.RemoteProtocolError as error:
            reply = _failed(error.error_status_hint, "this is no HTTP request")
        else:
            if request is None:  # the client has gone
                writer.close()
                return
            reply = await self._reply(request)
        head = [
            ("content-type", reply.content_type),
            ("content-length", str(len(reply.body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        if reply.status == 405:
            head.append(("allow", "GET, HEAD"))
        parts = [connection.send(h11.Response(status_code=reply.status, headers=head))]
        if request is None or request.method != b"HEAD":
            parts.append(connection.send(h11.Data(data=reply.body)))
        writer.write(b"".join(each for each in parts if each))
        async with asyncio.timeout(_PATIENCE):
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _reply(self, request: h11.Request) -> PageReply:
        path, _, query = request.target.decode("latin-1").partition("?")
        if request.method not in (b"GET", b"HEAD"):
            return _failed(405, "pages are read with GET")
        page = self.pages.get(path)
        if page is None:
            return _failed(404, "no such page")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        try:
            values = parse_qs(query, keep_blank_values=True, max_num_fields=100)
        except ValueError:
            return _failed(400, "the query has too many fields")
        try:
            async with asyncio.timeout(_PAGE_TIME):
                reply = await page(PageRequest(path, values, headers))
            self._late.discard(path)
            return reply
        except TimeoutError:
            if path not in self._late:
                self._late.add(path)
                _logger.warning("the page %s could not be made within %g s, jobs run all the same", path, _PAGE_TIME)
            return _failed(503, f"the page has not been made within {_PAGE_TIME:g} s")
        except Exception:  # of whatever kind: a page ends no worker
            _logger.exception("the page %s could not be made", path)
            return _failed(500, "the page could not be made, the log says why")


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Return the head of a request; None when the client has gone. Raise h11.RemoteProtocolError."""
    import h11

    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_LONGEST_HEAD))
        elif isinstance(event, h11.Request):
            return event
        else:
            return None


def _failed(status: int, why: str) -> PageReply:
    return PageReply(status, f'{{"error":"{why}"}}'.encode())


def _why(error: OSError) -> str:
    """Return the reason alone: asyncio and socket add the address to it, and each in its own words."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)


def _listening(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise OSError. Names are looked up, which may take time."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise OSError(str(error)) from None
    family, _, _, _, address = found[0]
    sock = socket.create_server(address[:2], family=family, backlog=128)
    sock.setblocking(False)
    return sock
