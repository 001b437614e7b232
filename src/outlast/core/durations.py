"""Parse durations, for all settings."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["LONGEST", "Duration", "seconds"]

Duration = float | str | timedelta
"""Seconds, a timedelta, or text such as "5m"."""

LONGEST: Final = 1e10
"""Seconds, some 300 years: a later time would not fit the numbers that stores sort by."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?P<amount>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)\Z")


def seconds(value: object, setting: str) -> float:
    """Return a duration in seconds from a number, a timedelta or text such as "5m" (units ms, s, m, h, d).

    Raise ConfigurationError that names `setting` when it is not a duration of 0 to LONGEST.
    """
    number: float | None = None
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, str):
        if match := _DURATION.match(value.strip()):
            number = float(match["amount"]) * _UNITS[match["unit"]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    if number is None and isinstance(value, str):
        raise ConfigurationError(
            f"{setting}={shown(value)}: give a number with its unit (ms, s, m, h, d), such as '30s', '5m', '2h'"
        )
    if number is None or not 0 <= number < math.inf:  # an int may be too large for a float
        raise ConfigurationError(
            f"{setting}={shown(value)}: give seconds as a number, a timedelta, or text such as '30s', '5m', '2h' "
            "(0 or more)"
        )
    if number > LONGEST:
        raise ConfigurationError(f"{setting}={shown(value)}: give at most {LONGEST:g} seconds")
    return float(number)
