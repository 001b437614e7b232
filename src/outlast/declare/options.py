"""The options of a kind and the options of an enqueue, with their checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict

from msgspec import Struct

from outlast.core.bounds import HEADERS_LIMIT, KEY_LIMIT, LAST_MOMENT, check_text, headers_size
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.kinds import Upgrade
from outlast.core.policy import HEAD_START, Priority, Retry
from outlast.core.unique import OnConflict, Unique

__all__ = ["NO_OPTIONS", "EnqueueOptions", "JobOptions", "Options", "check_conflict", "check_names", "check_priority"]


class JobOptions(TypedDict, total=False):
    """The options of the `job` decorator. An option that is left out has its default."""

    kind: str | None
    """The name of the kind in messages; by default the name of the function."""
    queue: str | None
    """The queue of the jobs; by default the queue of the app or router."""
    timeout: Duration | None
    """The timeout of one run, 300 s by default; None: no timeout."""
    retry: Retry | None
    """When a failed run is retried; None: the default `Retry()`."""
    priority: Priority
    """"high", "normal" (the default) or "low"."""
    expires: Duration | None
    """A job that has not started this long after it is due expires; by default never."""
    key: str | Callable[..., str | None] | None
    """The key for limits, fairness and erasure: a parameter, or a callable that gets the arguments by name."""
    unique: bool | str | Callable[..., str | None] | None
    """The unique key: True (same arguments), a template such as "receipt:{order_id}", or a callable as for `key`."""
    unique_until: Literal["start", "finish"]
    """The job releases the unique key at its start, or at its finish (the default)."""
    unique_for: Duration | None
    """The unique key is also free after this time."""
    on_conflict: OnConflict
    """What an enqueue does when another job holds the unique key: see `OnConflict`."""
    isolate: Literal["process"] | None
    """"process": each run has a child process, which is killed past the timeout."""
    version: int
    """The version of the arguments, 1 by default: add one for each change that waiting jobs do not fit."""
    aliases: Iterable[str]
    """Former names of the kind; this handler runs their jobs too."""
    upgrades: Mapping[int, Upgrade] | None
    """By version, a function that converts stored arguments (plain JSON values by name) to the next version.

    The versions must have no gap up to `version`.
    """
    result_ttl: Duration
    """How long a result is kept, 24 h by default; 0: not kept."""


class EnqueueOptions(TypedDict, total=False):
    """The options of `with_options`; None keeps the declared option."""

    delay: Duration | None
    """The job is due this long after the enqueue."""
    run_at: float | datetime | None
    """When the job is due: a datetime with a zone, or wall time in seconds since 1970."""
    priority: Priority | None
    """"high", "normal" or "low"."""
    unique: str | Unique | None
    """The unique key: text, held until the job ends, or a `Unique`."""
    id: str | None
    """The id of the job, unique in its queue while the store remembers it (at least 24 h)."""
    key: str | None
    """The key for limits, fairness and erasure."""
    expires: Duration | None
    """A job that has not started this long after it is due expires."""
    on_conflict: OnConflict | None
    """What the enqueue does when another job holds the unique key."""
    headers: dict[str, str] | None
    """The headers in `ctx.headers` of the run, such as a request id."""


class Options(Struct, frozen=True, kw_only=True):
    """Checked EnqueueOptions. Raise ConfigurationError for a wrong option."""

    delay: Duration | None = None
    run_at: float | datetime | None = None
    priority: Priority | None = None
    unique: str | Unique | None = None
    id: str | None = None
    key: str | None = None
    expires: Duration | None = None
    on_conflict: OnConflict | None = None
    headers: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.delay is not None and self.run_at is not None:
            raise ConfigurationError("with_options: delay= and run_at= both set the time: give one")
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
            # A caller repeats an enqueue of unknown outcome with the same id, so a repeated id must not raise.
            raise ConfigurationError("on_conflict='raise' is for unique keys, not for a repeated id=: give unique=")
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


def check_names(options: Mapping[str, Any], known: frozenset[str], function: str) -> None:
    """Raise ConfigurationError for an unknown option of `function`; it names the most similar option."""
    if options.keys() <= known:
        return
    from difflib import get_close_matches

    name = next(each for each in options if each not in known)
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}=?" if near else f"there are {', '.join(sorted(known))}"
    raise ConfigurationError(f"{function} has no option {name}=: {hint}")


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
        wrong = f"key of {len(key)} characters" if isinstance(key, str) else f"key={key!r}"
        raise ConfigurationError(f"{wrong}: give text of at most {KEY_LIMIT} characters")
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
    """Return wall time in seconds, None for None; raise ConfigurationError, also past the year 9999."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ConfigurationError("run_at: give a datetime with a zone, such as datetime.now(UTC) + timedelta(...)")
        return moment.timestamp()
    if moment is not None and (type(moment) not in {int, float} or not 0 <= moment <= LAST_MOMENT):
        raise ConfigurationError(f"run_at={moment!r}: give a datetime with a zone, or seconds since 1970")
    return moment


NO_OPTIONS: Final = Options()
