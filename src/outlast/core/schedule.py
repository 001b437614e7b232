"""Schedules as values: the declaration, the record in a store, and the changes of a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct, structs

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.ids import fits
from outlast.core.message import Message

__all__ = [
    "SCHEDULE_NAME",
    "Amendment",
    "EditSchedule",
    "ScheduleEntry",
    "Misfire",
    "ScheduleAdvance",
    "Overlap",
    "PauseSchedule",
    "RemoveSchedule",
    "RunSchedule",
    "ScheduleRecord",
    "Scheduled",
    "Spec",
    "check_schedule_name",
]

Misfire = Literal["skip", "latest", "all"]
Overlap = Literal["allow", "skip", "queue"]

SCHEDULE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,79}\Z")
ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+/-]{1,64}\Z")
SHORTEST: Final = 0.1
"""The shortest interval, in seconds."""
LONGEST_JITTER: Final = 86_400.0
MOST_MISFIRES: Final = 10_000


def check_schedule_name(name: object) -> str:
    """Return the name of a schedule; raise ConfigurationError for one that cannot be part of a job's id."""
    if not isinstance(name, str) or not fits(SCHEDULE_NAME, name):
        raise ConfigurationError(
            f"schedule name={name!r}: use 1 to 80 letters, digits or _ . - and begin with a letter or _"
        )
    return name


class Spec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a schedule ticks: `cron` by the wall clock of zone `tz`, or an interval of `every` seconds from 1970.

    jitter: seconds; all ticks are delayed by one fixed part of it, derived from the schedule's name. misfire: which of
    the ticks that came due while no worker could fire them still run: none, the latest, or all, at most
    `misfire_limit`. overlap: a tick that comes due before the previous run has ended runs too, is skipped, or waits.
    """

    cron: str | None = None
    every: float | None = None
    tz: str = "UTC"
    jitter: float = 0.0
    misfire: Misfire = "latest"
    misfire_limit: int = 100
    overlap: Overlap = "allow"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            cron: str | None = ...,
            every: Duration | None = ...,
            tz: str = ...,
            jitter: Duration = ...,
            misfire: Misfire = ...,
            misfire_limit: int = ...,
            overlap: Overlap = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ConfigurationError('schedule: give either a cron expression such as "0 5 * * 1-5", or every="5m"')
        if self.cron is not None and not isinstance(self.cron, str):
            raise ConfigurationError(f'schedule cron={self.cron!r}: give text such as "0 5 * * 1-5", or every=')
        if not fits(ZONE_NAME, self.tz):
            raise ConfigurationError(f"schedule tz={self.tz!r}: give the name of a zone, such as 'Europe/Berlin'")
        structs.force_setattr(self, "jitter", seconds(self.jitter, "schedule jitter"))
        if self.every is not None:
            self._check_interval(seconds(self.every, "schedule every"))
        elif self.jitter > LONGEST_JITTER:
            raise ConfigurationError(f"schedule jitter={self.jitter:g}: give at most a day ('1d')")
        if self.misfire not in ("skip", "latest", "all"):
            raise ConfigurationError(f"schedule misfire={self.misfire!r}: give 'skip', 'latest' or 'all'")
        if type(self.misfire_limit) is not int or not 1 <= self.misfire_limit <= MOST_MISFIRES:
            raise ConfigurationError(
                f"schedule misfire_limit={self.misfire_limit!r}: give a whole number from 1 to {MOST_MISFIRES}"
            )
        if self.overlap not in ("allow", "skip", "queue"):
            raise ConfigurationError(f"schedule overlap={self.overlap!r}: give 'allow', 'skip' or 'queue'")

    def _check_interval(self, every: float) -> None:
        if every < SHORTEST:
            raise ConfigurationError(f"schedule every={self.every!r}: give at least {SHORTEST:g} seconds ('100ms')")
        if self.tz != "UTC":
            raise ConfigurationError(
                f"schedule tz={self.tz!r} with every=: an interval has no time zone: leave tz out, or give a cron "
                "expression such as '*/5 * * * *'"
            )
        if self.jitter > every:
            raise ConfigurationError(f"schedule jitter={self.jitter:g}: give at most the interval, {every:g} seconds")
        structs.force_setattr(self, "every", every)


class ScheduleEntry(Struct, frozen=True, kw_only=True):
    """A schedule as one version of an app's code declares it. version: a digest of the declaration."""

    name: str
    app: str
    kind: str
    queue: str
    spec: Spec
    version: str


class Scheduled(Struct, frozen=True, kw_only=True):
    """A schedule as declared for jobs of kind `kind`, with the arguments of each run."""

    name: str
    kind: str
    spec: Spec
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class ScheduleRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of a schedule in a store. Times are wall time in seconds.

    upto: ticks up to this time, included, are taken: published, skipped, or in `backlog`. revision: grows with each
    change except that of `seen`. seen: when a live worker last declared `version`. older: replaced versions, the last
    one first. asked: when an operator requested a run that has not been fired yet. last: the id of the last job.
    """

    name: str
    app: str
    kind: str
    queue: str
    declared: Spec
    version: str
    seen: float
    upto: float
    revision: int = 1
    edited: Spec | None = None
    older: tuple[str, ...] = ()
    paused: bool = False
    asked: float | None = None
    backlog: tuple[float, ...] = ()
    last: str | None = None
    last_tick: float | None = None
    fired: int = 0
    skipped: int = 0
    error: str = ""

    @property
    def spec(self) -> Spec:
        """The spec in force: the operator's edit, else the declared one."""
        return self.declared if self.edited is None else self.edited


class ScheduleAdvance(Struct, frozen=True, kw_only=True):
    """Take ticks: publish `messages` and move the record to `upto`, if it still has revision `expect`.

    tick: the last tick of the messages. skipped: the number of skipped ticks. error: why the schedule cannot fire, ""
    when it can. served: the requested run is among the messages.
    """

    name: str
    expect: int
    upto: float
    messages: tuple[Message, ...] = ()
    tick: float | None = None
    backlog: tuple[float, ...] = ()
    skipped: int = 0
    error: str = ""
    served: bool = False


class EditSchedule(Struct, frozen=True):
    """Use `spec` from now on, until the code declares another one. None: use the declared one."""

    name: str
    spec: Spec | None


class PauseSchedule(Struct, frozen=True):
    """Stop firing ticks (`on`), or continue from now: ticks of the pause are left out. A deploy keeps the pause."""

    name: str
    on: bool = True


class RunSchedule(Struct, frozen=True):
    """Fire once, as soon as a worker is notified, regardless of pause and overlap."""

    name: str


class RemoveSchedule(Struct, frozen=True):
    """Remove a schedule that no live worker declares. Its jobs stay."""

    name: str


Amendment = EditSchedule | PauseSchedule | RunSchedule | RemoveSchedule
