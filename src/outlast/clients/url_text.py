"""Refuses the URL of a server with text that no server takes."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from outlast.core.errors import ConfigurationError

__all__ = ["check_url_text"]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_url_text(url: str) -> None:
    """Refuse bytes that are not UTF-8, and control characters, as such or as %00; white space around a URL is allowed.

    A client would fail at the first with an error of its own; the second would control a terminal that shows the place.
    A password may have control characters, but NUL. Raise ConfigurationError, which does not show it.
    """
    try:
        plain = unquote_to_bytes(url.strip()).decode()
    except UnicodeError:
        raise ConfigurationError(
            "url: it holds bytes that are not UTF-8, as such or as %FF: write each special character as its bytes of "
            "UTF-8 ('\u00e9' as %C3%A9)"
        ) from None
    if "\0" in plain or _CONTROL.search(plain.rpartition("@")[2]):
        raise ConfigurationError("url: it holds a control character, as such or as %00: leave it out")
