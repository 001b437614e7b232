"""What a key, a text and a moment may be: one bound for options, declarations and the wire."""

from __future__ import annotations

from typing import Final

from outlast.core.errors import InvalidArguments

__all__ = ["KEY_LIMIT", "LAST_MOMENT", "check_text"]

KEY_LIMIT: Final = 512
"""Characters of a key, and of a unique key."""
LAST_MOMENT: Final = 253_402_300_799.0
"""The end of the year 9999: what lies beyond has no date, and would not fit the numbers that stores sort by."""


def check_text(text: str, what: str) -> None:
    """Raise InvalidArguments, naming `what` it is, for text that has no UTF-8 form, so that no store could keep it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArguments(
            f"{what} {text!r} holds half a character (a lone surrogate): give text that UTF-8 can hold"
        ) from None
