"""Bounds of keys, headers, texts and times, the same for options, declarations and the wire format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlast.core.errors import InvalidArguments

__all__ = ["HEADERS_LIMIT", "KEY_LIMIT", "LAST_MOMENT", "check_text", "headers_size"]

KEY_LIMIT: Final = 512
"""The most characters of a key and of a unique key."""
HEADERS_LIMIT: Final = 8192
"""The most characters of all headers of a job, names and values."""
LAST_MOMENT: Final = 253_402_300_799.0
"""The end of the year 9999: a later time has no date, and would not fit the numbers that stores sort by."""


def headers_size(headers: Mapping[str, str]) -> int:
    """Count the characters of all headers, names and values."""
    return sum(len(name) + len(text) for name, text in headers.items())


def check_text(text: str, what: str) -> None:
    """Raise InvalidArguments that names `what` for text that cannot be encoded as UTF-8: no store could keep it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArguments(
            f"{what} {text!r} holds half a character (a lone surrogate): give text that UTF-8 can hold"
        ) from None
