"""Options of a TCP socket by which the operating system detects a dead peer."""

from __future__ import annotations

import socket
import struct
from typing import Final

__all__ = ["detect_dead_peer"]

KEEPALIVE: Final = 15
"""Seconds of silence after which the operating system checks the peer."""


def detect_dead_peer(connected: socket.socket, timeout: float) -> None:
    """End the connection when the peer confirms no bytes for `timeout` seconds, or no check after 15 s of silence.

    asyncio has set TCP_NODELAY. A Unix socket is left as it is: its peer cannot vanish unnoticed.
    """
    if connected.family == getattr(socket, "AF_UNIX", None):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # End with a reset: no data is unsent then, and many connections that end together would keep ports in TIME_WAIT.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE),
        ("TCP_KEEPALIVE", KEEPALIVE),  # the same, on macOS
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", max(1, int(timeout * 1000))),
    ):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
