"""What is told of a stored job that cannot be read: damage, a foreign writer, a value beyond a limit of the decoder."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from struct import error as struct_error
from typing import Any, Final

import msgspec
from msgspec import Raw

from outlast.core.bounds import LAST_MOMENT
from outlast.core.codec import redact_args
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.message import Failure

__all__ = [
    "READ_ERRORS",
    "UNREADABLE",
    "ToldOnce",
    "check_time",
    "json_text",
    "shown_args",
    "unread_result",
    "unreadable",
]

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
_TYPE: Final = "Unreadable"
_MOST_TOLD: Final = 10_000
_raw: Final = msgspec.json.Decoder(Raw).decode


class ToldOnce:
    """Remembers of which unreadable values the log tells: of each once, until it changes or can be read again."""

    def __init__(self) -> None:
        self._told: dict[Hashable, int] = {}

    def is_news(self, where: Hashable, value: Hashable) -> bool:
        """Return whether the value at `where` was not told of yet. Beyond 10,000 values the oldest are forgotten."""
        if self._told.get(where) == (found := hash(value)):
            return False
        self._told.pop(where, None)
        self._told[where] = found
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]
        return True

    def forget(self, where: Hashable) -> None:
        """Forget the value: it can be read, or is removed."""
        self._told.pop(where, None)


def unreadable(error: Exception, *, what: str = "the record", attempt: int = 0, at: float = 0.0) -> Failure:
    """Return the failure to show in place of what cannot be read. Its text has no part of the content."""
    return Failure(attempt, at, _TYPE, f"{what} cannot be read ({type(error).__name__}: {error})"[:500])


def unread_result(failures: Iterable[Failure], what: str = "result") -> Failure | None:
    """Return the failure that tells of a result (or of `what`) that cannot be read, None for none.

    A handler may raise an exception of the same name, and other parts of a record may be unreadable.
    """
    return next(
        (
            each
            for each in failures
            if each.type == _TYPE and not each.traceback and each.message.startswith(f"its {what} cannot be read (")
        ),
        None,
    )


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
