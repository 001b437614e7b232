"""Requests to an ASGI app without a server, so that a test decides when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

__all__ = ["Exchange", "Reply", "ask"]


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Exchange:
    """One request, and what has come back so far. gone: set when the client goes away."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    body: Sequence[bytes] = (b"",)
    query: str = ""
    raises: bool = False
    """Whether sending to a client that has gone raises OSError, as ASGI 2.4 says."""
    extensions: Mapping[str, Any] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    on_send: Callable[[Message], None] | None = None

    async def serve(self, app: ASGIApp) -> Reply | None:
        """Run the app for this request; return the answer, None if none was begun."""
        parts = [*self.body]

        async def receive() -> Message:
            if parts:
                part = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(parts)}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if self.gone.is_set() and self.raises:
                raise OSError("the client has gone")
            self.sent.append(message)
            if self.on_send is not None:
                self.on_send(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4" if self.raises else "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "extensions": dict(self.extensions),
        }
        await app(scope, receive, send)
        return self.reply

    @property
    def reply(self) -> Reply | None:
        """The answer so far."""
        starts = [each for each in self.sent if each["type"] == "http.response.start"]
        if not starts:
            return None
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in starts[0]["headers"]}
        body = b"".join(each.get("body", b"") for each in self.sent if each["type"] == "http.response.body")
        return Reply(starts[0]["status"], headers, body)


async def ask(
    app: ASGIApp, path: str, key: str | None = None, body: bytes = b"", *, method: str = "POST", **headers: str
) -> Reply:
    """Send one request and return its answer. key: of the client, in quotes as it is sent; headers: "_" for "-"."""
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if key is not None:
        sent.append(("Idempotency-Key", key))
    reply = await Exchange(method, path, sent, (body,)).serve(app)
    assert reply is not None
    return reply
