"""Calls of an ASGI app without a server, for what a middleware adds to a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

__all__ = ["App", "cookies", "request"]

App = Callable[[Any, Any, Any], Awaitable[None]]


async def cookies(app: App, path: str, clients: int) -> list[bytes]:
    """Return the cookie that each of so many clients gets from a path."""
    found: list[bytes] = []
    call = request(app, path, told=lambda headers: found.append(headers[b"set-cookie"].partition(b";")[0]))
    for number in range(clients):
        await call(number)
    return found


def request(
    app: App,
    path: str = "/",
    *,
    cookies: Sequence[bytes] = (),
    told: Callable[[dict[bytes, bytes]], object] | None = None,
) -> Callable[[int], Awaitable[int]]:
    """Return what sends one GET from the client of a number, and returns its status, which must be 200.

    cookies: of the clients. told: called with the headers of each answer.
    """

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def call(number: int) -> int:
        status = 0

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            if told is not None and "headers" in message:
                told(dict(message["headers"]))

        host = (b"host", b"bench")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [host, (b"cookie", cookies[number % len(cookies)])] if cookies else [host],
            "client": (f"10.0.{number % 4}.{number % 251 + 1}", 5000),
            "server": ("bench", 80),
            "state": {},
        }
        await app(scope, receive, send)
        if status != 200:
            raise RuntimeError(f"the request was answered with {status}")
        return status

    return call
