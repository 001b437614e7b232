"""Keys of objects: paths of plain segments, so that none leads out of a folder or into what belongs to Outlast."""

from __future__ import annotations

from typing import Final

from outlast.core.bounds import check_text, plain_text
from outlast.core.errors import InvalidArguments
from outlast.core.text import shown

__all__ = ["OWN", "object_key"]

OWN: Final = ".outlast"
"""The first segment of the keys that belong to Outlast."""
LONGEST: Final = 700
"""Bytes of a key: object stores take 1,024, and a prefix stands before it."""
_SEGMENT: Final = 200
"""Bytes of a segment, which is the name of a file in a folder."""


def object_key(key: object) -> str:
    """Return a key as plain text; raise InvalidArguments for one that not every place can hold."""
    if not isinstance(key, str) or not key:
        raise InvalidArguments(f"object key {shown(key)}: give text such as 'invoices/7.pdf'")
    key = plain_text(key)
    check_text(key, "object key")
    segments = key.split("/")
    if len(key.encode()) > LONGEST or any(len(each.encode()) > _SEGMENT for each in segments):
        raise InvalidArguments(
            f"object key {shown(key)}: give at most {LONGEST} bytes, and {_SEGMENT} between two slashes"
        )
    if any(each in ("", ".", "..") for each in segments) or not key.isprintable() or "\\" in key:
        raise InvalidArguments(
            f"object key {shown(key)}: give printable text without backslashes, whose parts between slashes are not "
            "empty, '.' or '..'"
        )
    if segments[0].lower() == OWN:
        raise InvalidArguments(f"object key {shown(key)}: keys that begin with {OWN + '/'!r} belong to Outlast")
    return key
