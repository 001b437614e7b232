"""Frames over a stream socket: four bytes of length, then the body."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

__all__ = ["FRAME_LIMIT", "pack", "read_frame", "receive_frame"]

FRAME_LIMIT: Final = 64 * 1024 * 1024
_HEAD: Final = 4


def pack(body: bytes) -> bytes:
    """Return `body` with its length in front."""
    return len(body).to_bytes(_HEAD, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next body, None when the other side is gone, also within a frame."""
    try:
        size = int.from_bytes(await reader.readexactly(_HEAD), "big")
        return await reader.readexactly(size) if size <= FRAME_LIMIT else None
    except (asyncio.IncompleteReadError, ConnectionError, OSError):
        return None


def receive_frame(sock: socket.socket) -> bytes | None:
    """Return the next body from a blocking socket, None when the other side is gone."""
    head = _receive(sock, _HEAD)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    return _receive(sock, size) if size <= FRAME_LIMIT else None


def _receive(sock: socket.socket, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        try:
            part = sock.recv(min(size, 1 << 20))
        except OSError:
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
