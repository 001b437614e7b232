"""Bounds on the texts and times of a message, and their checks: the same for every way in."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from outlast.core.errors import ConfigurationError, InvalidArguments, InvalidOption
from outlast.core.text import shown

__all__ = [
    "HEADERS_LIMIT",
    "KEY_LIMIT",
    "LAST_MOMENT",
    "NESTED_LIMIT",
    "check_text",
    "checked_headers",
    "checked_moment",
    "checked_text",
    "plain_text",
    "seconds_at",
]

KEY_LIMIT: Final = 512
"""The most characters of a key and of a unique key."""
HEADERS_LIMIT: Final = 8192
"""The most characters of all headers of a job, names and values."""
NESTED_LIMIT: Final = 200
"""The most levels of arguments, their object included: a run could not load deeper ones."""
LAST_MOMENT: Final = 253_402_300_799.0
"""The end of the year 9999: a later time has no date, and would not fit the numbers that stores sort by."""


def plain_text(text: str) -> str:
    """Return the text of a `str` or a subclass, such as an enum or markup, as a plain `str`: JSON writers need it."""
    return text if type(text) is str else str.__str__(text)


def check_text(text: str, what: str) -> None:
    """Raise InvalidArguments that names `what` for text that cannot be encoded as UTF-8: no store could keep it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArguments(
            f"{what} {shown(text)} holds half a character (a lone surrogate): give text that UTF-8 can hold"
        ) from None


def checked_text(value: object, what: str, *, least: int = 0) -> str:
    """Return a key or a unique key as a plain `str`, of `least` to KEY_LIMIT characters.

    Raise ConfigurationError or InvalidArguments that names `what`.
    """
    limit = "{} to {}" if least else "at most {1}"
    if not isinstance(value, str):
        raise ConfigurationError(f"{what}={shown(value)}: give text of {limit.format(least, KEY_LIMIT)} characters")
    text = plain_text(value)
    if not least <= len(text) <= KEY_LIMIT:
        raise InvalidOption(f"{what} of {len(text)} characters: give {limit.format(least, KEY_LIMIT)}")
    if not text.isascii():
        check_text(text, what)
    return text


def checked_headers(headers: object) -> dict[str, str]:
    """Return headers as a dict of its own, of plain `str`; raise ConfigurationError or InvalidArguments."""
    if not (isinstance(headers, dict) and all(isinstance(text, str) for item in headers.items() for text in item)):
        raise ConfigurationError(f"headers={shown(headers)}: give a dict of text to text")
    plain = {plain_text(name): plain_text(text) for name, text in headers.items()}
    if (size := sum(len(name) + len(text) for name, text in plain.items())) > HEADERS_LIMIT:
        raise InvalidOption(f"headers of {size} characters: give at most {HEADERS_LIMIT}")
    for name, text in plain.items():
        check_text(name, "header")
        check_text(text, f"header {shown(name)}")
    return plain


def seconds_at(moment: datetime, setting: str) -> float:
    """Return a datetime as seconds since 1970; raise ConfigurationError that names `setting` if it has no zone."""
    try:
        # A zone may know no offset: then `timestamp` would take the time of this machine's zone.
        if moment.utcoffset() is not None:
            return moment.timestamp()
    except Exception as error:  # the zone may be user code
        raise ConfigurationError(f"{setting}={shown(moment)}: its zone raised {type(error).__name__}") from error
    raise ConfigurationError(f"{setting}: give a datetime with a zone, such as datetime.now(UTC) + timedelta(...)")


def checked_moment(value: object, setting: str) -> float:
    """Return a datetime with a zone, or wall time in seconds, as seconds since 1970, up to LAST_MOMENT.

    Raise ConfigurationError that names `setting`.
    """
    number = seconds_at(value, setting) if isinstance(value, datetime) else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise ConfigurationError(f"{setting}={shown(value)}: give a datetime with a zone, or seconds since 1970")
    if not 0 <= number <= LAST_MOMENT:
        raise ConfigurationError(
            f"{setting}={shown(value)}: give a time from 1970 to the year 9999 (0 to {LAST_MOMENT:.0f} seconds since "
            "1970)"
        )
    return float(number)
