"""How long sessions live, and what they may hold."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from outlast.core.durations import seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["SessionRule", "rule_of"]

TOUCH: Final = 0.1
"""The share of the idle time in which one use is noted."""
_LONGEST: Final = 366 * 86_400.0
_MOST: Final = {"max_fields": 1000, "max_bytes": 1024 * 1024, "per_user": 1000}


class SessionRule(Struct, frozen=True, kw_only=True):
    """See `rule_of`. Times in seconds."""

    idle: float
    absolute: float
    max_fields: int
    max_bytes: int
    per_user: int

    def until(self, now: float, ends: float) -> float:
        """Return when a session ends that is used now for the last time."""
        return min(now + self.idle, ends)

    def is_due(self, until: float, now: float, ends: float) -> bool:
        """Return whether a use is to be noted."""
        return self.until(now, ends) - until >= self.idle * TOUCH


def rule_of(*, idle: Any, absolute: Any, max_fields: Any, max_bytes: Any, per_user: Any) -> SessionRule:
    """Return the checked rule; raise ConfigurationError."""
    times = {"idle": seconds(idle, "sessions(idle)"), "absolute": seconds(absolute, "sessions(absolute)")}
    for name, time in times.items():
        if not 1.0 <= time <= _LONGEST:
            raise ConfigurationError(f"sessions({name}={time:g} s): give 1 s to 366 days, such as '30m'")
    if times["idle"] > times["absolute"]:
        raise ConfigurationError(
            f"sessions(idle={shown(idle)}, absolute={shown(absolute)}): a session ends at the absolute end at the "
            "latest: give a shorter idle"
        )
    counts: dict[str, int] = {"max_fields": max_fields, "max_bytes": max_bytes, "per_user": per_user}
    for name, count in counts.items():
        if type(count) is not int or not 1 <= count <= _MOST[name]:
            raise ConfigurationError(f"sessions({name}={shown(count)}): give a whole number from 1 to {_MOST[name]:,}")
    return SessionRule(
        idle=times["idle"], absolute=times["absolute"], max_fields=max_fields, max_bytes=max_bytes, per_user=per_user
    )
