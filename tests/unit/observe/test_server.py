"""The HTTP server of a supervisor, over real sockets: what it answers, and what a client cannot do to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from outlast.aio.tasks import cancel
from outlast.core.errors import ConfigurationError
from outlast.observe import server as module
from outlast.observe.server import Page, PageReply, PageRequest, PageServer, checked_listen
from tests.support.polling import until


async def echo(request: PageRequest) -> PageReply:
    return PageReply(200, json.dumps([request.path, request.query, request.headers.get("accept")]).encode())


async def fails(request: PageRequest) -> PageReply:
    raise RuntimeError("a secret of the page")


async def hangs(request: PageRequest) -> PageReply:
    await asyncio.Event().wait()
    raise AssertionError


async def exposition(request: PageRequest) -> PageReply:
    return PageReply(200, b"up 1\n", "text/plain; version=0.0.4")


@asynccontextmanager
async def served(host: str = "127.0.0.1", **pages: Page) -> AsyncIterator[PageServer]:
    found = PageServer({f"/{name}": page for name, page in pages.items()})
    task = asyncio.create_task(found.run(host, 0))
    try:
        await until(lambda: found.address, "it listens")
        yield found
    finally:
        await cancel(task)


async def sent(server: PageServer, request: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Send bytes; return the first line, the headers and the body of the answer."""
    assert server.address is not None
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(request)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    return first.rstrip(), dict(each.decode().split(": ", 1) for each in rest), body


async def get(server: PageServer, path: str, *headers: str, method: str = "GET") -> tuple[bytes, dict[str, str], bytes]:
    lines = "".join(f"{each}\r\n" for each in headers)
    return await sent(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())


async def test_a_page_gets_the_query_and_the_headers() -> None:
    async with served(echo=echo) as server:
        first, headers, body = await get(server, "/echo?queue=a&queue=b&verbose", "Accept: text/plain")
    assert first == b"HTTP/1.1 200"
    assert json.loads(body) == ["/echo", {"queue": ["a", "b"], "verbose": [""]}, "text/plain"]
    assert (headers["connection"], headers["cache-control"]) == ("close", "no-store")
    assert int(headers["content-length"]) == len(body)


async def test_a_page_can_be_added_later_and_may_be_text() -> None:
    async with served() as server:
        assert (await get(server, "/metrics"))[0] == b"HTTP/1.1 404"
        server.pages["/metrics"] = exposition
        first, headers, body = await get(server, "/metrics")
        assert (first, headers["content-type"], body) == (b"HTTP/1.1 200", "text/plain; version=0.0.4", b"up 1\n")
        first, headers, body = await get(server, "/metrics", method="HEAD")
        assert (first, headers["content-length"], body) == (b"HTTP/1.1 200", "5", b"")


async def test_another_method_is_refused() -> None:
    async with served(echo=echo) as server:
        first, headers, _ = await get(server, "/echo", method="DELETE")
    assert (first, headers["allow"]) == (b"HTTP/1.1 405", "GET, HEAD")


@pytest.mark.parametrize(
    "request_",
    [b"no request\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000],
    ids=["garbage", "no host", "a head without end"],
)
async def test_what_is_no_request_is_refused(request_: bytes) -> None:
    async with served() as server:
        first, _, _ = await sent(server, request_)
        assert first.split(b" ")[1] in (b"400", b"431")
        assert (await get(server, "/"))[0] == b"HTTP/1.1 404"


async def test_a_page_that_fails_is_told_in_the_log_and_not_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    async with served(fails=fails) as server:
        first, _, body = await get(server, "/fails")
    assert first == b"HTTP/1.1 500"
    assert b"secret" not in body
    assert "a secret of the page" in caplog.text


async def test_a_page_that_hangs_is_given_up_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAGE_TIME", 0.05)
    async with served(page=hangs) as server:
        for _ in range(2):
            assert (await get(server, "/page"))[0] == b"HTTP/1.1 503"
        assert caplog.messages == ["the page /page could not be made within 0.05 s, jobs run all the same"]
        server.pages["/page"] = echo
        assert (await get(server, "/page"))[0] == b"HTTP/1.1 200"
        server.pages["/page"] = hangs
        assert (await get(server, "/page"))[0] == b"HTTP/1.1 503"
    assert len(caplog.messages) == 2


async def test_a_query_with_too_many_fields_is_refused() -> None:
    async with served(echo=echo) as server:
        assert (await get(server, f"/echo?{'a=1&' * 200}"))[0] == b"HTTP/1.1 400"


async def test_a_client_that_sends_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    async with served() as server:
        with contextlib.suppress(ConnectionResetError):
            assert (await sent(server, b"GET / HT"))[0] == b""


async def test_idle_clients_do_not_keep_a_probe_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    async with served(echo=echo) as server:
        assert server.address is not None
        idle = [await asyncio.open_connection(*server.address) for _ in range(5)]
        assert (await get(server, "/echo"))[0] == b"HTTP/1.1 200"
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionResetError):
                assert await idle[0][0].read() == b""
        for _, writer in idle:
            writer.close()


async def test_a_client_that_goes_away_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo=echo) as server:
        assert server.address is not None
        _, writer = await asyncio.open_connection(*server.address)
        writer.transport.abort()
        assert (await get(server, "/echo"))[0] == b"HTTP/1.1 200"
        await until(lambda: not server._connections, "no connection is left")
    assert caplog.records == []


async def test_a_port_that_is_taken_is_told_once_and_used_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    server = PageServer({"/echo": echo})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tries = counted(module._listening)
        monkeypatch.setattr(module, "_listening", tries)
        task = asyncio.create_task(server.run("127.0.0.1", port))
        await until(lambda: tries.calls > 2, "it has tried again")
        assert server.address is None
    with caplog.at_level(logging.INFO):
        await until(lambda: server.address, "it listens")
    await cancel(task)
    refused, listens = caplog.messages
    assert refused == (
        f"cannot listen on 127.0.0.1:{port} (Address already in use): no probe and no scrape reaches this service over "
        "HTTP, jobs run all the same; free the port, or give another address with --listen or OUTLAST_LISTEN"
    )
    assert listens == f"listening on http://127.0.0.1:{port}"


class counted:
    """Counts the calls of a function."""

    def __init__(self, call: Callable[[str, int], socket.socket]) -> None:
        self.calls = 0
        self._call = call

    def __call__(self, host: str, port: int) -> socket.socket:
        self.calls += 1
        return self._call(host, port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "x" * 70 + ".invalid"])
async def test_an_address_that_is_not_of_this_machine_is_told(host: str, caplog: pytest.LogCaptureFixture) -> None:
    task = asyncio.create_task(PageServer({}).run(host, 0))
    await until(lambda: caplog.messages, "it is told")
    await cancel(task)
    assert caplog.messages[0].startswith(f"cannot listen on {host}:0 (")


@pytest.mark.parametrize("wrong", ["localhost", "host:99999", "a b:80"])
def test_another_form_is_refused_with_the_setting_and_the_fix(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--listen='.*': give an address such as '127.0.0.1:9464'"):
        checked_listen(wrong, "--listen")
