"""Addresses to listen on, as people write them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LISTEN", "LOOPBACK", "address_of"]

LOOPBACK: Final = "127.0.0.1"
_PORT: Final = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4})"
LISTEN: Final = rf"(?a:(?:(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]*)):)?(?P<port>{_PORT}))"
"""The form of "HOST:PORT", "[HOST]:PORT", ":PORT" and "PORT"."""
_LISTEN: Final = re.compile(LISTEN)


def address_of(listen: str) -> tuple[str, int] | None:
    """Return host and port, None where the text has another form. Without a host it is LOOPBACK: no one else asks."""
    found = _LISTEN.fullmatch(listen.strip())
    if found is None:
        return None
    return found["six"] or found["host"] or LOOPBACK, int(found["port"])
