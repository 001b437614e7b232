"""Calls of an ASGI app without a server, for what a middleware adds to a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["App", "request"]

App = Callable[[Any, Any, Any], Awaitable[None]]


def request(app: App, path: str = "/") -> Callable[[int], Awaitable[int]]:
    """Return what sends one GET from the client of a number, and returns its status, which must be 200."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def call(number: int) -> int:
        status = 0

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

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
            "headers": [(b"host", b"bench")],
            "client": (f"10.0.{number % 4}.{number % 251 + 1}", 5000),
            "server": ("bench", 80),
            "state": {},
        }
        await app(scope, receive, send)
        if status != 200:
            raise RuntimeError(f"the request was answered with {status}")
        return status

    return call
