"""Keys of any text, as text that is safe in each store: no two keys become one."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from outlast.core.errors import InvalidArguments
from outlast.core.text import shown

__all__ = ["key_text"]

LONGEST: Final = 200
"""Bytes up to which a key is kept as it is; a longer one is its begin and its digest."""
_BEGIN: Final = 64
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_.:@/+=,-]")


def key_text(key: object, what: str = "key") -> str:
    """Return a key as ASCII without braces, wildcards, spaces and control characters; different for different keys.

    Other characters become "%" and two hex digits for each byte of their UTF-8. A key that is longer than LONGEST then
    becomes its begin, "~" and its SHA-256. Raise InvalidArguments for what is no text, and for "".
    """
    if not isinstance(key, str) or not key:
        raise InvalidArguments(f"{what}={shown(key)}: give text of at least one character")
    raw = key.encode("utf-8", "surrogatepass")
    safe = _safe(raw[: LONGEST + 1])  # of a long one no more: a client may send 64 KiB that all are to be replaced
    if len(safe) <= LONGEST:
        return safe
    return f"{safe[:_BEGIN]}~{sha256(raw).hexdigest()}"


def _safe(raw: bytes) -> str:
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw).decode("ascii")
