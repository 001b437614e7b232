"""Events for observers: frozen values, sent after the fact. An observer changes nothing.

trace, of the events of one job: the `traceparent` of its run's span in an event about a run that this process traces,
else the header of that name of its message; "" for none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from outlast.core.message import Message, State, Usage

__all__ = [
    "EVENTS",
    "Event",
    "GuardClosed",
    "GuardOpened",
    "JobDropped",
    "JobEnded",
    "JobEnqueued",
    "JobLost",
    "JobPostponed",
    "JobRefused",
    "JobRetried",
    "JobStarted",
    "Observer",
    "Observers",
    "Refusal",
    "QueueUnattended",
    "TRACE_HEADER",
    "ScheduleFailed",
    "WorkerStalled",
    "trace_of",
]


Refusal = Literal["full", "too-large", "unroutable", "conflict", "store", "unknown"]


class JobEnqueued(Struct, frozen=True):
    """The store accepted a job of a caller in this process, or a follow-up of a job that succeeded here."""

    id: str
    queue: str
    kind: str
    run_at: float
    """When the job is due, wall time in seconds."""
    trace: str = ""


class JobDropped(Struct, frozen=True):
    """A waiting job ended because this process enqueued another one. by: the id of the other job.

    reason "shed": the queue was full; the dropped job ended as expired. "replaced": the dropped job held the unique
    key; it ended as cancelled.
    """

    id: str
    queue: str
    reason: Literal["shed", "replaced"]
    by: str


class JobRefused(Struct, frozen=True):
    """An enqueue in this process raised, or a follow-up of a job that succeeded here was not stored.

    reason "unknown": the store did not answer and may have accepted the job. "conflict": a job of another kind has the
    id or the unique key.
    """

    id: str
    queue: str
    kind: str
    reason: Refusal
    trace: str = ""


class JobStarted(Struct, frozen=True):
    """A run began."""

    id: str
    queue: str
    kind: str
    attempt: int
    waited: float
    """Seconds since the job was due."""
    trace: str = ""


class JobEnded(Struct, frozen=True):
    """A job reached a terminal state."""

    id: str
    queue: str
    kind: str
    state: State
    reason: str | None
    seconds: float
    usage: Usage | None = None
    """The resources of the run, where they were measured."""
    trace: str = ""


class JobRetried(Struct, frozen=True):
    """A run failed; the next run is due at `at` (wall time in seconds)."""

    id: str
    queue: str
    kind: str
    attempt: int
    at: float
    error: str
    trace: str = ""


class JobPostponed(Struct, frozen=True):
    """A guard refused a call of a run, which is put off until `at` (wall time in seconds); no attempt is used up."""

    id: str
    queue: str
    kind: str
    guard: str
    at: float
    trace: str = ""


class GuardOpened(Struct, frozen=True):
    """The breaker of a guard has opened in this process. why: in words.

    shared: it follows the state of all processes, also when an operator opened them; False: it has opened on its own
    calls, and asks the others. key: the one whose breaker it is, in short, of a guard with `key=`.
    """

    guard: str
    why: str
    shared: bool
    key: str = ""


class GuardClosed(Struct, frozen=True):
    """The breaker of a guard has closed in this process. seconds: how long it was open."""

    guard: str
    seconds: float
    key: str = ""


class JobLost(Struct, frozen=True):
    """This holder was superseded: its report about the job no longer counts."""

    id: str
    queue: str
    trace: str = ""


class QueueUnattended(Struct, frozen=True):
    """Jobs wait in a queue that no live worker consumes."""

    queue: str
    depth: int
    seconds: float


class ScheduleFailed(Struct, frozen=True):
    """A schedule cannot run because of `why`; none of its ticks fires until that is corrected."""

    schedule: str
    why: str


class WorkerStalled(Struct, frozen=True):
    """A worker was alive but consumed nothing for `seconds`; it rebuilds its connection or exits."""

    holder: str
    seconds: float


TRACE_HEADER: Final = "traceparent"
"""The header of a message that holds the trace of its caller (W3C Trace Context)."""


def trace_of(message: Message) -> str:
    """Return the trace of a message for its events."""
    return (message.headers or {}).get(TRACE_HEADER, "")


Event = (
    JobEnqueued
    | JobDropped
    | JobRefused
    | JobStarted
    | JobEnded
    | JobRetried
    | JobPostponed
    | JobLost
    | GuardOpened
    | GuardClosed
    | QueueUnattended
    | ScheduleFailed
    | WorkerStalled
)
Observer = Callable[[Any], object]
EVENTS: Final[tuple[type[Event], ...]] = get_args(Event)


class Observers:
    """The observers of each type of event, in the order in which they were added. failed: the ids of those that have
    raised, so that each is logged once."""

    __slots__ = ("_added", "_of", "failed")

    def __init__(self) -> None:
        self._added: list[tuple[Observer, tuple[type[Event], ...]]] = []
        self._of: dict[type[Event], Sequence[Observer]] = {}
        self.failed: set[int] = set()

    def add(self, observer: Observer, kinds: tuple[type[Event], ...] = ()) -> None:
        """Call `observer` for events of these types; () means every type."""
        self._added.append((observer, kinds))
        self._of = {}

    def of(self, kind: type[Event]) -> Sequence[Observer]:
        """Return the observers of a type of event."""
        found = self._of.get(kind)
        if found is None:
            found = self._of[kind] = tuple(each for each, kinds in self._added if not kinds or kind in kinds)
        return found

    def __bool__(self) -> bool:
        return bool(self._added)
