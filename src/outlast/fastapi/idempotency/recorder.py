"""Records the answer of one request on its way to the client, and stores it before its end is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.types import Message, Receive, Send

from outlast.fastapi.idempotency.options import Idempotency
from outlast.toolkit.idempotency.keys import Held, StoredAnswer

__all__ = ["NOT_STORED", "Recorder"]

NOT_STORED: Final = (b"idempotent-stored", b"false")
"""The header of an answer that a repetition will not get."""


class Recorder:
    """One request that holds its key: stands between the app and the server.

    An answer whose size is known, or that has one part, is sent when it is stored. A stream is sent as it comes, its
    last part when it is stored. `ended` is true when the key needs nothing more.
    """

    def __init__(self, held: Held, options: Idempotency, body: bytes, receive: Receive, send: Send) -> None:
        self._held = held
        self._options = options
        self._request: bytes | None = body
        self._receive = receive
        self._send = send
        self._on_send: Callable[[Message], Awaitable[None]] = self._start
        self._begun: Message = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._known_size = False
        self._gone = False
        self._released = asyncio.Event()
        self.ended = False

    async def receive(self) -> Message:
        """Give the app the request. It does not learn that the client has gone: its answer is for a repetition too."""
        if self._request is not None:
            body, self._request = self._request, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
            await self._released.wait()
        return message

    async def send(self, message: Message) -> None:
        """Take one message of the app's answer."""
        if message["type"] in ("http.response.start", "http.response.body"):
            await self._on_send(message)
        else:
            await self._forward(message)

    async def _start(self, message: Message) -> None:
        headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
        status, self._begun = message["status"], {**message, "headers": headers}
        if not self._options.stored(status):
            await self._held.free()
            self._let_go()
            await self._pass(self._begun)
            return
        length = next((value for name, value in headers if name == b"content-length"), None)
        self._known_size = length is not None
        if (length or b"").isdigit() and int(length or 0) > self._options.max_answer:
            await self._send_unkept()
        elif any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers):
            await self._send_unkept()  # it may never end
        else:
            self._on_send = self._hold

    async def _hold(self, message: Message) -> None:
        """Take a part before anything was sent."""
        self._add(message)
        if self._size > self._options.max_answer:
            await self._send_unkept()
            await self._send_parts(more=message.get("more_body", False))
        elif not message.get("more_body", False):
            stored = await self._finish(b"".join(self._parts))
            await self._forward(self._begun if stored else _not_stored(self._begun))
            await self._send_parts(more=False)
        elif not self._known_size:
            self._on_send = self._stream
            await self._forward(self._begun)
            await self._forward(message)

    async def _stream(self, message: Message) -> None:
        """Take a part of a stream of which the begin was sent."""
        self._add(message)
        if self._size > self._options.max_answer:
            self._parts = []
            await self._finish(None)
        elif not message.get("more_body", False):
            await self._finish(b"".join(self._parts))
        await self._forward(message)

    async def _pass(self, message: Message) -> None:
        """Send a part of an answer that is not recorded; here the app learns that the client has gone."""
        await self._send(message)

    def _add(self, message: Message) -> None:
        body = bytes(message.get("body", b""))
        self._size += len(body)
        self._parts.append(body)

    async def _send_unkept(self) -> None:
        """Store that the request was done, without its answer: a repetition must not do it again."""
        await self._finish(None)
        await self._forward(_not_stored(self._begun))

    async def _send_parts(self, *, more: bool) -> None:
        await self._forward({"type": "http.response.body", "body": b"".join(self._parts), "more_body": more})
        self._parts = []

    async def _finish(self, body: bytes | None) -> bool:
        """Store the answer; return whether a repetition gets it."""
        allowed = self._options.headers
        kept = tuple(pair for pair in self._begun["headers"] if pair[0].decode("latin-1") in allowed)
        self.ended = True  # before the call: when it is cancelled, the answer is stored later
        stored = await self._held.finish(StoredAnswer(self._begun["status"], kept if body is not None else (), body))
        self._let_go()
        return stored

    def _let_go(self) -> None:
        self.ended = True
        self._on_send = self._pass
        self._released.set()

    async def _forward(self, message: Message) -> None:
        """Send a message while the client may be gone: the app goes on to its end."""
        if self._gone:
            return
        try:
            await self._send(message)
        except OSError:  # how ASGI (since 2.4) tells that the client has gone
            self._gone = True


def _not_stored(start: Message) -> dict[str, Any]:
    return {**start, "headers": [*start["headers"], NOT_STORED]}
