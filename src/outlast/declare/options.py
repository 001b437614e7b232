"""What one enqueue may set beside the arguments."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from outlast.core.bounds import HEADERS_LIMIT, KEY_LIMIT, LAST_MOMENT, check_text, headers_size
from outlast.core.errors import ConfigurationError
from outlast.core.policy import HEAD_START, Priority, seconds
from outlast.core.unique import OnConflict, Unique

__all__ = ["NO_OPTIONS", "Options", "check_conflict", "check_priority"]


class Options(Struct, frozen=True, kw_only=True):
    """What one enqueue sets beside the arguments. delay, expires: durations. None: as declared.

    run_at: wall time in seconds, or a datetime with a zone. expires counts from the time the job is due.
    unique: text to hold as the key until the end, or a Unique. id: the job's own id within its queue. headers: what
    the run finds in `ctx.headers`.
    """

    delay: float | str | timedelta | None = None
    run_at: float | datetime | None = None
    priority: Priority | None = None
    unique: str | Unique | None = None
    id: str | None = None
    key: str | None = None
    expires: float | str | timedelta | None = None
    on_conflict: OnConflict | None = None
    headers: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.delay is not None and self.run_at is not None:
            raise ConfigurationError("with_options: delay= and run_at= both say when: give one")
        if self.delay is not None:
            seconds(self.delay, "delay")
        if self.expires is not None:
            seconds(self.expires, "expires")
        _timestamp(self.run_at)
        if self.priority is not None:
            check_priority(self.priority)
        if self.on_conflict is not None:
            check_conflict(self.on_conflict)
        if self.on_conflict == "raise" and self.id is not None and self.unique is None:
            # Repeating an id is how an unknown enqueue is made safe, so it never raises.
            raise ConfigurationError("on_conflict='raise' looks at unique keys, and a repeated id= is the same job")
        if self.unique is not None and not isinstance(self.unique, Unique):
            Unique(self.unique)
        _check_key(self.key)
        _check_headers(self.headers)

    def due(self, now: float) -> float:
        """Return when the job is due, wall time in seconds."""
        if self.delay is not None:
            return now + seconds(self.delay, "delay")
        moment = _timestamp(self.run_at)
        return now if moment is None else moment


def check_conflict(on_conflict: str) -> None:
    """Raise ConfigurationError unless `on_conflict` is one of the three."""
    if on_conflict not in ("existing", "replace", "raise"):
        raise ConfigurationError(f"on_conflict={on_conflict!r}: give 'existing', 'replace' or 'raise'")


def check_priority(priority: str) -> None:
    """Raise ConfigurationError unless `priority` is one of the three."""
    if str(priority) not in HEAD_START:
        raise ConfigurationError(f"priority={priority!r}: give 'high', 'normal' or 'low'")


def _check_key(key: object) -> None:
    if key is None:
        return
    if not (isinstance(key, str) and len(key) <= KEY_LIMIT):
        told = f"key of {len(key)} characters" if isinstance(key, str) else f"key={key!r}"
        raise ConfigurationError(f"{told}: give text of at most {KEY_LIMIT} characters")
    check_text(key, "key")


def _check_headers(headers: object) -> None:
    if headers is None:
        return
    if not (isinstance(headers, dict) and all(isinstance(text, str) for item in headers.items() for text in item)):
        raise ConfigurationError(f"headers={headers!r}: give a dict of text to text")
    if (size := headers_size(headers)) > HEADERS_LIMIT:
        raise ConfigurationError(f"headers of {size} characters: give at most {HEADERS_LIMIT}")
    for name, text in headers.items():
        check_text(name, "header")
        check_text(text, f"header {name!r}")


def _timestamp(moment: float | datetime | None) -> float | None:
    """Return wall time in seconds; raise ConfigurationError for what is none, or lies beyond the year 9999."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ConfigurationError("run_at: give a datetime with a zone, such as datetime.now(UTC) + timedelta(...)")
        return moment.timestamp()
    if moment is not None and (type(moment) not in {int, float} or not 0 <= moment <= LAST_MOMENT):
        raise ConfigurationError(f"run_at={moment!r}: give a datetime with a zone, or seconds since 1970")
    return moment


NO_OPTIONS: Final = Options()
