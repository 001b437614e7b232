"""Reads the header Idempotency-Key: a string of RFC 8941, as the draft asks for; a bare word where that is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["LONGEST_KEY", "NAME", "BadKey", "key_in"]

NAME: Final = b"idempotency-key"
LONGEST_KEY: Final = 255
"""Characters of a key."""

_STRING: Final = rb'"(?P<text>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
_BARE_ITEM: Final = (
    rb"(?:-?\d{1,15}(?:\.\d{1,3})?"  # a number
    rb'|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'  # a string
    rb"|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*"  # a token
    rb"|:[A-Za-z0-9+/=]*:"  # bytes
    rb"|\?[01])"  # a boolean
)
_PARAMETERS: Final = rb"(?:;\x20*[a-z*][a-z0-9_.*-]*(?:=" + _BARE_ITEM + rb")?)*"
_ITEM: Final = re.compile(rb"\x20*" + _STRING + _PARAMETERS + rb"\x20*\Z")
_BARE: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~:/=@-]+\Z")
_ESCAPED: Final = re.compile(rb'\\(["\\])')


class BadKey(ValueError):
    """The header is no key; the text says why, and what to send."""


def key_in(headers: Iterable[tuple[bytes, bytes]], *, bare: bool) -> str | None:
    """Return the key of a request, None without one; raise BadKey. bare: a word without quotes is a key too.

    Parameters of the string are ignored, as RFC 8941 (section 3.1.2) asks.
    """
    values = [value for name, value in headers if name == NAME]
    if not values:
        return None
    if len(values) > 1:
        raise BadKey("the header Idempotency-Key must be sent once")
    value = values[0].strip(b" \t")
    # The length first: the pattern would read all of a header of 64 KiB. Escapes and parameters need some room.
    found = _ITEM.match(value) if len(value) <= 4 * LONGEST_KEY else None
    if found is not None:
        text = _ESCAPED.sub(rb"\1", found["text"])
    elif bare and len(value) <= LONGEST_KEY and _BARE.match(value):
        text = value
    else:
        text = b""
    if not text or len(text) > LONGEST_KEY:
        raise BadKey(
            f"the header Idempotency-Key must hold 1 to {LONGEST_KEY} ASCII characters in double quotes, "
            'such as "8e03978e-40d5-43dd-bc93-6894a57f9324"'
        )
    return text.decode("ascii")
