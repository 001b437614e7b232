"""A blocking AMQP channel that passes the properties of messages as bytes, as they are sent and as they arrive."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pika import spec
from pika.frame import Method, ProtocolHeader

__all__ = ["RawChannel", "raw_channel"]

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_FRAME: Final = struct.Struct(">BHI")
_CONTENT: Final = struct.Struct(">HHQ")


class RawChannel:
    """One channel of one connection, without heartbeats. Each publish is confirmed.

    Raise ConnectionError, with the text of the server, when it closes the channel or the connection.
    """

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname or "127.0.0.1", place.port or 5672), timeout=60)
        self._input = self._socket.makefile("rb")
        self.frame_max = 0
        self._confirmed = 0
        user, password = unquote(place.username or ""), unquote(place.password or "")
        self._socket.sendall(ProtocolHeader().marshal())
        self._await(spec.Connection.Start)
        self._send(0, spec.Connection.StartOk({}, "PLAIN", f"\0{user}\0{password}".encode(), "en_US"))
        tune = self._await(spec.Connection.Tune)
        self.frame_max = tune.frame_max
        self._send(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._ask(0, spec.Connection.Open(unquote(place.path[1:])), spec.Connection.OpenOk)
        self._ask(1, spec.Channel.Open(), spec.Channel.OpenOk)
        self._ask(1, spec.Confirm.Select(), spec.Confirm.SelectOk)

    def close(self) -> None:
        """End the connection without a word."""
        self._input.close()
        self._socket.close()

    def declare(self, queue: str, **arguments: Any) -> None:
        """Declare a durable queue."""
        method = spec.Queue.Declare(queue=queue, durable=True, arguments=arguments)
        self._ask(1, method, spec.Queue.DeclareOk)

    def publish(self, exchange: str, key: str, properties: bytes, body: bytes) -> None:
        """Publish a message and wait until the server confirms it. properties: as on the wire, their flags first."""
        self.publish_all(exchange, key, [(properties, body)])

    def publish_all(self, exchange: str, key: str, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Publish messages (properties, body), and wait until the server has confirmed all of them."""
        for properties, body in messages:
            content = _CONTENT.pack(60, 0, len(body)) + properties
            room = self.frame_max - 8
            parts = (_frame(_BODY, body[at : at + room]) for at in range(0, len(body), room))
            frames = b"".join((_frame(_HEADER, content), *parts))
            self._send(1, spec.Basic.Publish(exchange=exchange, routing_key=key), frames)
        first = self._confirmed + 1
        self._confirmed += len(messages)
        missing = set(range(first, self._confirmed + 1))
        while missing:
            ack = self._await(spec.Basic.Ack)
            missing -= {tag for tag in missing if tag == ack.delivery_tag or (ack.multiple and tag < ack.delivery_tag)}

    def get(self, queue: str) -> tuple[bytes, bytes] | None:
        """Take the next message of a queue: its properties as on the wire, and its body; None when there is none."""
        self._send(1, spec.Basic.Get(queue=queue, no_ack=True))
        if isinstance(self._await(spec.Basic.GetOk, spec.Basic.GetEmpty), spec.Basic.GetEmpty):
            return None
        kind, content = self._read()
        assert kind == _HEADER
        _, _, size = _CONTENT.unpack_from(content)
        body = b""
        while len(body) < size:
            _, part = self._read()
            body += part
        return content[_CONTENT.size :], body

    def _ask(self, channel: int, method: Any, answer: type) -> None:
        self._send(channel, method)
        self._await(answer)

    def _send(self, channel: int, method: Any, frames: bytes = b"") -> None:
        self._socket.sendall(Method(channel, method).marshal() + frames)

    def _await(self, *answers: type) -> Any:
        kind, payload = self._read()
        assert kind == _METHOD, kind
        number = int.from_bytes(payload[:4], "big")
        method = spec.methods[number]()
        method.decode(payload, 4)
        if isinstance(method, spec.Channel.Close | spec.Connection.Close):
            raise ConnectionError(f"{method.reply_code}: {method.reply_text}")
        assert isinstance(method, answers), method
        return method

    def _read(self) -> tuple[int, bytes]:
        head = self._input.read(_FRAME.size)
        if len(head) < _FRAME.size:
            raise ConnectionError("the server ended the connection")
        kind, _, size = _FRAME.unpack(head)
        payload = self._input.read(size + 1)
        if payload[-1:] != _END:
            raise ConnectionError("a frame is cut")
        return int(kind), payload[:-1]


def _frame(kind: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, 1, len(payload)) + payload + _END


@contextmanager
def raw_channel(url: str) -> Iterator[RawChannel]:
    """Open a channel; end its connection at last."""
    channel = RawChannel(url)
    try:
        yield channel
    finally:
        channel.close()
