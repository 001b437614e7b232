"""Spread schedules over time by their names, so that not all run at once, and make the ids of their jobs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from outlast.core.errors import ConfigurationError

__all__ = ["offset_of", "spread", "tick_id", "written"]

_RANGES: Final = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day of month": (1, 28),  # every month has these days
    "month": (1, 12),
    "day of week": (0, 6),
}
_HASHED: Final = re.compile(r"H(?:\((?P<low>\d+)-(?P<high>\d+)\))?(?:/(?P<step>\d+))?\Z", re.IGNORECASE)
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def _hashed(name: str, what: str) -> int:
    """Return a number that is the same in every process and version: stored schedules depend on it."""
    return int.from_bytes(sha256(f"{name}\0{what}".encode()).digest()[:8], "big")


def spread(expression: str, name: str) -> str:
    """Return a cron expression with every `H` replaced by a value derived from the schedule's name.

    `H`: any value of the field (of the days of a month, 1 to 28); `H(0-29)`: one of these; `H/15`: every 15th, from one
    of the first 15; `H(0-29)/10`: both. "@daily" and similar names become five fields. Raise ConfigurationError.
    """
    fields = _NICKNAMES.get(expression.strip().lower(), expression).split()
    names = list(_RANGES)[6 - len(fields) :]
    if len(fields) not in (5, 6):
        raise ConfigurationError(
            f"schedule cron={expression!r} has {len(fields)} fields: give minute, hour, day of month, month and day of "
            "week (a sixth in front counts seconds)"
        )
    return " ".join(
        ",".join(_term(term, field, name, expression) for term in text.split(","))
        for field, text in zip(names, fields, strict=True)
    )


def _term(term: str, field: str, name: str, expression: str) -> str:
    match = _HASHED.match(term)
    if match is None:
        return term
    first, last = _RANGES[field]
    low, high = int(match["low"] or first), int(match["high"] or last)
    step = int(match["step"]) if match["step"] else None
    if not first <= low <= high <= last or step == 0:
        raise ConfigurationError(
            f"schedule cron={expression!r}: {term!r} must be within {first}-{last} (the {field}), with a step above 0"
        )
    value = _hashed(name, field)
    if step is None:
        return str(low + value % (high - low + 1))
    return f"{low + value % min(step, high - low + 1)}-{high}/{step}"


def offset_of(name: str, jitter: float) -> float:
    """Return the delay in seconds of all ticks of a schedule: at least 0 and less than `jitter`.

    A whole number of milliseconds; of seconds when `jitter` is a minute or more.
    """
    parts = 1 if jitter >= 60 else 1000
    choices = int(jitter * parts)
    return _hashed(name, "jitter") % choices / parts if choices else 0.0


def written(at: float) -> str:
    """Return a wall time as text in UTC, with milliseconds only where there are any."""
    whole, millis = divmod(round(at * 1000), 1000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def tick_id(queue: str, name: str, tick: float, *, asked: bool = False) -> str:
    """Return the id of a tick's job, the same in every process. asked: the run was requested by an operator."""
    return f"{queue}.{name}@{written(tick)}" + (".asked" if asked else "")
