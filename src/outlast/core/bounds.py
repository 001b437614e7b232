"""What a key, a text and a moment may be: one bound for options, declarations and the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from outlast.core.errors import InvalidArguments

__all__ = ["HEADERS_LIMIT", "KEY_LIMIT", "LAST_MOMENT", "check_text", "headers_size"]

KEY_LIMIT: Final = 512
"""Characters of a key, and of a unique key."""
HEADERS_LIMIT: Final = 8192
"""Characters of all headers of a job, names and values."""
LAST_MOMENT: Final = 253_402_300_799.0
"""The end of the year 9999: what lies beyond has no date, and would not fit the numbers that stores sort by."""


def headers_size(headers: Mapping[str, str]) -> int:
    """Return the characters of all headers, names and values."""
    return sum(len(name) + len(text) for name, text in headers.items())


def check_text(text: str, what: str) -> None:
    """Raise InvalidArguments, naming `what` it is, for text that has no UTF-8 form, so that no store could keep it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArguments(
            f"{what} {text!r} holds half a character (a lone surrogate): give text that UTF-8 can hold"
        ) from None
