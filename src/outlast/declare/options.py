"""The options of a kind of job, and those of one enqueue, with the checks that both share."""

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
    """What the `job` decorator takes. An option that is left out has its default."""

    kind: str | None
    """The name on the wire; the function's own by default."""
    queue: str | None
    """The queue of its jobs; that of the app or router by default."""
    timeout: Duration | None
    """Of one run, 300 s by default; None: no timeout."""
    retry: Retry | None
    """When a failed run is tried again; None: the default `Retry()`."""
    priority: Priority
    """"high", "normal" (the default) or "low"."""
    expires: Duration | None
    """The job is not started later than this after it is due; by default it never expires."""
    key: str | Callable[..., str | None] | None
    """What limits, fairness and erasure go by: a parameter, or a callable that gets the arguments by name."""
    unique: bool | str | Callable[..., str | None] | None
    """The unique key: True (same arguments), a template such as "receipt:{order_id}", or a callable as for `key`."""
    unique_until: Literal["start", "finish"]
    """What frees the unique key: the job's start, or its finish (the default)."""
    unique_for: Duration | None
    """The unique key is also free after this time."""
    on_conflict: OnConflict
    """What an enqueue does while another job holds the unique key: see `OnConflict`."""
    isolate: Literal["process"] | None
    """"process": each run has a child process, which is killed past its timeout."""
    version: int
    """The version of the arguments, 1 by default: one more with each change that waiting jobs would not fit."""
    aliases: Iterable[str]
    """Former names of the kind, whose jobs this handler runs too."""
    upgrades: Mapping[int, Upgrade] | None
    """By version: a function that makes of stored arguments (plain JSON values by name) those of the next version.

    They lead without a gap to `version`.
    """
    result_ttl: Duration
    """How long a result is kept, 24 h by default; 0: not at all."""


class EnqueueOptions(TypedDict, total=False):
    """What `with_options` takes; None leaves what was declared."""

    delay: Duration | None
    """The job is due this long after the enqueue."""
    run_at: float | datetime | None
    """When the job is due: a datetime with a zone, or wall time in seconds since 1970."""
    priority: Priority | None
    """"high", "normal" or "low"."""
    unique: str | Unique | None
    """The key to hold: text, until the job ends, or a `Unique`."""
    id: str | None
    """The job's own id, at most once in its queue while it is remembered (24 h at least)."""
    key: str | None
    """What limits, fairness and erasure go by."""
    expires: Duration | None
    """The job is not started later than this after it is due."""
    on_conflict: OnConflict | None
    """What the enqueue does while another job holds the unique key."""
    headers: dict[str, str] | None
    """What the run finds in `ctx.headers`, such as a request id."""


class Options(Struct, frozen=True, kw_only=True):
    """The checked EnqueueOptions of one or more enqueues; raise ConfigurationError for a wrong one."""

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


def check_names(options: Mapping[str, Any], known: frozenset[str], function: str) -> None:
    """Raise ConfigurationError for an option that `function` does not have, naming the nearest that it has."""
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
        what = f"key of {len(key)} characters" if isinstance(key, str) else f"key={key!r}"
        raise ConfigurationError(f"{what}: give text of at most {KEY_LIMIT} characters")
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
