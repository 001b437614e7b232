"""The options of a kind and the options of an enqueue, with their checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, cast

from msgspec import Struct, structs

from outlast.core.bounds import LAST_MOMENT, checked_headers, checked_moment, checked_text, plain_text, seconds_at
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.declared import DeclaredBinding
from outlast.core.exchanges.values import HeaderValue
from outlast.core.guards.needs import Named
from outlast.core.kinds import Upgrade
from outlast.core.policy import HEAD_START, Priority, Retry
from outlast.core.text import shown
from outlast.core.unique import OnConflict, Unique

__all__ = [
    "NO_OPTIONS",
    "EnqueueOptions",
    "EventOptions",
    "JobOptions",
    "Options",
    "check_conflict",
    "check_names",
    "check_priority",
    "positive",
]


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
    max_wait: Duration | None
    """An enqueue is refused (QueueFull) if its job would not begin within this time; by default that of the queue."""
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
    inherit_deadline: bool
    """Whether a job that is enqueued under a deadline (`outlast.deadline`) expires at it; False by default."""
    needs: Sequence[str | Named]
    """The guards that its queue needs (see `Queue`): all jobs of the queue need the same."""
    on: DeclaredBinding | Sequence[DeclaredBinding]
    """The events that it gets as jobs (`exchange.binding(...)`); the handler's one argument is the event."""
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
    max_wait: Duration | None
    """The enqueue is refused (QueueFull) if its job would not begin within this time."""
    on_conflict: OnConflict | None
    """What the enqueue does when another job holds the unique key."""
    headers: dict[str, str] | None
    """The headers in `ctx.headers` of the run, such as a request id."""


class EventOptions(TypedDict, total=False):
    """The options of one event."""

    headers: Mapping[str, HeaderValue] | None
    """Text, numbers, booleans or None by name; a headers exchange looks at them, and handlers get them as text."""
    id: str | None
    """The id of the event; publishing it again completes it, and stores nothing twice (for at least 24 h)."""
    expires: Duration | None
    """A copy that has not begun after this time expires."""


class Options(Struct, frozen=True, kw_only=True):
    """Checked EnqueueOptions: durations and times as seconds, texts as plain `str`. Raise ConfigurationError."""

    delay: Duration | None = None
    run_at: float | datetime | None = None
    priority: Priority | None = None
    unique: str | Unique | None = None
    id: str | None = None
    key: str | None = None
    expires: Duration | None = None
    max_wait: Duration | None = None
    on_conflict: OnConflict | None = None
    headers: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.delay is not None and self.run_at is not None:
            raise ConfigurationError("with_options: delay= and run_at= both set the time: give one")
        for name, checked in _CHECKS:
            value = getattr(self, name)
            if value is not None:
                structs.force_setattr(self, name, checked(value))
        if self.on_conflict == "raise" and self.id is not None and self.unique is None:
            # A caller repeats an enqueue of unknown outcome with the same id, so a repeated id must not raise.
            raise ConfigurationError("on_conflict='raise' is for unique keys, not for a repeated id=: give unique=")

    def due(self, now: float) -> float:
        """Return when the job is due, wall time in seconds."""
        if self.delay is not None:
            due = now + seconds(self.delay, "delay")
            if due > LAST_MOMENT:
                raise ConfigurationError(f"delay={shown(self.delay)}: the job would be due after the year 9999")
            return due
        return now if self.run_at is None else checked_moment(self.run_at, "run_at")


def instead_of(name: str, job: str) -> str:
    """Return what to write in place of an argument that is an option, here or in another queue; "" for any other."""
    name = name.lstrip("_")
    option = {"eta": "run_at", "countdown": "delay", "defer_by": "delay", "defer_until": "run_at", "job_id": "id"}.get(
        name, name
    )
    if option in EnqueueOptions.__optional_keys__:
        return f"; {option}= is an option: {job}.with_options({option}=...).enqueue(...)"
    if option in JobOptions.__optional_keys__:
        return f"; {option}= is declared: @job({option}=...)"
    return ""


def check_names(options: Mapping[str, Any], known: frozenset[str], function: str) -> None:
    """Raise ConfigurationError for an unknown option of `function`; it names the most similar option."""
    if options.keys() <= known:
        return
    from difflib import get_close_matches

    name = next(each for each in options if each not in known)
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}=?" if near else f"there are {', '.join(sorted(known))}"
    raise ConfigurationError(f"{function} has no option {name}=: {hint}")


def check_conflict(on_conflict: object) -> OnConflict:
    """Return `on_conflict` as a plain `str`; raise ConfigurationError unless it is one of the three."""
    if not isinstance(on_conflict, str) or on_conflict not in ("existing", "replace", "raise"):
        raise ConfigurationError(f"on_conflict={shown(on_conflict)}: give 'existing', 'replace' or 'raise'")
    return cast("OnConflict", plain_text(on_conflict))


def check_priority(priority: object) -> Priority:
    """Return `priority` as a plain `str`; raise ConfigurationError unless it is one of the three."""
    if not isinstance(priority, str) or priority not in HEAD_START:
        raise ConfigurationError(f"priority={shown(priority)}: give 'high', 'normal' or 'low'")
    return cast("Priority", plain_text(priority))


def positive(duration: Duration, setting: str) -> float:
    """Return a duration in seconds; raise ConfigurationError for 0 or less."""
    number = seconds(duration, setting)
    if number == 0:
        raise ConfigurationError(f"{setting}={shown(duration)}: give more than 0 seconds, or None for none")
    return number


def _unique(unique: str | Unique) -> str | Unique:
    return unique if isinstance(unique, Unique) else Unique(unique).key


def _run_at(moment: object) -> float | datetime:
    if not isinstance(moment, datetime):
        return checked_moment(moment, "run_at")
    seconds_at(moment, "run_at")
    return moment  # the error of an enqueue for a year that no store keeps shows the date


_CHECKS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    ("delay", lambda value: seconds(value, "delay")),
    ("run_at", _run_at),
    ("priority", check_priority),
    ("unique", _unique),
    ("key", lambda value: checked_text(value, "key")),
    ("expires", lambda value: positive(value, "expires")),
    ("max_wait", lambda value: positive(value, "max_wait")),
    ("on_conflict", check_conflict),
    ("headers", checked_headers),
)
NO_OPTIONS: Final = Options()
