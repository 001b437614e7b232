"""What is told of a stored job that cannot be read: damage, a foreign writer, a value beyond a limit of the decoder."""

from __future__ import annotations

from struct import error as struct_error
from typing import Any, Final

import msgspec
from msgspec import Raw

from outlast.core.bounds import LAST_MOMENT
from outlast.core.codec import redact_args
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.message import Failure

__all__ = ["READ_ERRORS", "UNREADABLE", "check_time", "json_text", "shown_args", "unreadable"]

UNREADABLE: Final = "unreadable"
"""The reason of a job that was set aside: it is dead, and its content is kept as it was found."""
READ_ERRORS: Final = (
    msgspec.MsgspecError,
    ConfigurationError,
    InvalidArguments,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    struct_error,
)
"""What decoding of stored content raises when the content is at fault."""
_raw: Final = msgspec.json.Decoder(Raw).decode


def unreadable(error: Exception, *, what: str = "the record", attempt: int = 0, at: float = 0.0) -> Failure:
    """Return the failure to show in place of what cannot be read. Its text has no part of the content."""
    return Failure(attempt, at, "Unreadable", f"{what} cannot be read ({type(error).__name__}: {error})"[:500])


def json_text(value: object) -> Raw:
    """Return stored JSON; raise one of READ_ERRORS if it is none."""
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return Raw(bytes(_raw(value.encode())))


def shown_args(message_args: Raw, redacted: tuple[str, ...], told: list[Failure], attempt: int) -> dict[str, Any]:
    """Return the arguments to show; none, with a failure added to `told`, where they cannot be read."""
    try:
        return redact_args(message_args, redacted)
    except READ_ERRORS as error:
        told.append(unreadable(error, what="its arguments", attempt=attempt))
        return {}


def check_time(value: float | None, name: str) -> None:
    """Raise ValueError for a time that no clock shows (NaN, infinity, beyond the year 9999)."""
    if value is not None and not abs(value) <= LAST_MOMENT:
        raise ValueError(f"{name} is no time")
