"""Frames of AMQP 0-9-1 (the specification, 4.2.3) that are written often: messages and acknowledgements."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from outlast.core.errors import ConfigurationError

__all__ = [
    "FRAME_END",
    "HEADER_OVERHEAD",
    "acknowledge",
    "message_frames",
    "publish_method",
    "return_to_queue",
    "short_text",
]

FRAME_END: Final = 0xCE
OVERHEAD: Final = 8
"""Bytes of a frame beside its payload."""
HEADER_OVERHEAD: Final = OVERHEAD + 12
"""Bytes of a header frame beside the properties."""
_MANDATORY: Final = 1
_METHOD = struct.Struct(">BHI")
_HEADER = struct.Struct(">BHIHHQ")
_BODY = struct.Struct(">BHI")
_SETTLE = struct.Struct(">BHIHHQBB")
_ACK, _NACK = 80, 120


@lru_cache(maxsize=1024)
def publish_method(channel: int, exchange: str, key: str) -> bytes:
    """Return the frame of basic.publish, mandatory; raise ConfigurationError for a name over 255 bytes."""
    payload = b"".join(
        (
            struct.pack(">HHH", 60, 40, 0),
            short_text(exchange, "exchange"),
            short_text(key, "routing key"),
            bytes((_MANDATORY,)),
        )
    )
    return _METHOD.pack(1, channel, len(payload)) + payload + b"\xce"


def message_frames(channel: int, method: bytes, header: bytes, body: bytes, frame_max: int) -> bytes:
    """Return all frames of one message. header: the encoded properties, which have to fit in one frame."""
    size = len(body)
    head = _HEADER.pack(2, channel, len(header) + 12, 60, 0, size)
    if size <= frame_max - OVERHEAD:
        if not size:
            return b"".join((method, head, header, b"\xce"))
        return b"".join((method, head, header, b"\xce", _BODY.pack(3, channel, size), body, b"\xce"))
    pieces = [method, head, header, b"\xce"]
    step = frame_max - OVERHEAD
    for start in range(0, size, step):
        part = body[start : start + step]
        pieces += (_BODY.pack(3, channel, len(part)), part, b"\xce")
    return b"".join(pieces)


def acknowledge(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Return the frame of basic.ack. multiple: of all deliveries up to this one."""
    return _SETTLE.pack(1, channel, 13, 60, _ACK, tag, multiple, FRAME_END)


def return_to_queue(channel: int, tag: int, *, multiple: bool, requeue: bool) -> bytes:
    """Return the frame of basic.nack. requeue: False lets the queue dead-letter the message, or drop it."""
    return _SETTLE.pack(1, channel, 13, 60, _NACK, tag, multiple | requeue << 1, FRAME_END)


def short_text(text: str, what: str) -> bytes:
    """Return a short string; raise ConfigurationError, which names `what`, for one over 255 bytes."""
    octets = text.encode()
    if len(octets) > 255:
        raise ConfigurationError(f"{what} {text[:32]!r}... has {len(octets)} bytes in UTF-8: give at most 255")
    return bytes((len(octets),)) + octets
