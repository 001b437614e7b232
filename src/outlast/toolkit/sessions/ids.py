"""The ids of sessions: secrets that only the client has. A store has their digests."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

__all__ = ["digest_of_id", "is_id", "new_id"]

BYTES: Final = 32
"""256 random bits; where an id must belong to one of 16 parts of a Cluster, 252."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def new_id(name: str, fits: Callable[[str], bool]) -> str:
    """Return an id whose digest fits; of a random one that must be true at least once in 16 times."""
    while True:
        made = token_urlsafe(BYTES)
        if fits(digest_of_id(name, made)):
            return made


def is_id(text: str) -> bool:
    """Return whether a text can be an id. A digest cannot: it is longer."""
    return _ID.match(text) is not None


def digest_of_id(name: str, text: str) -> str:
    """Return the SHA-256 of an id, in hex: what a store has of it. name: an id of other sessions has another one."""
    return sha256(f"{name}:{text}".encode("ascii")).hexdigest()
