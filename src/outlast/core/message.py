"""Messages, their deliveries to holders, and the fences that guard the reports of holders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Raw, Struct

from outlast.core.forecast import Offer
from outlast.core.policy import HEAD_START, Priority
from outlast.core.unique import Unique

__all__ = [
    "TERMINAL",
    "Delivery",
    "Failure",
    "Fence",
    "Holder",
    "Message",
    "State",
    "Terminal",
    "Usage",
    "rank_of",
]

Terminal = Literal["succeeded", "dead", "cancelled", "expired"]
State = Literal["waiting", "scheduled", "ready", "running", "parked", "succeeded", "dead", "cancelled", "expired"]
TERMINAL: Final[frozenset[str]] = frozenset(("succeeded", "dead", "cancelled", "expired"))


def rank_of(at: float, priority: Priority) -> int:
    """Return a job's rank in milliseconds: lower is claimed first. It does not change while the job waits."""
    return int((at - HEAD_START[priority]) * 1000)


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A job on the wire (docs/wire-format.md). Times are wall time in seconds since 1970.

    args: a JSON object, the arguments keyed by parameter name. run_at: when first due. expires_at: the latest start.
    key: groups jobs for limits, fairness and erasure. redacted: names of arguments that must not be shown. max_wait:
    seconds within which it must begin by the forecast, or it is refused; not kept.
    """

    id: str
    queue: str
    kind: str
    args: Raw
    enqueued_at: float
    run_at: float
    priority: Priority = "normal"
    key: str | None = None
    unique: Unique | None = None
    expires_at: float | None = None
    headers: dict[str, str] | None = None
    max_wait: float | None = None
    redacted: tuple[str, ...] = ()


class Fence(Struct, frozen=True, gc=False):
    """The right to report on one delivery of one job. token: grows with the deliveries of a store, never used twice.

    row: the store's own number of the job; only the store reads it.
    """

    id: str
    queue: str
    token: int
    row: int = 0


class Holder(Struct, frozen=True):
    """One start of one worker process; `id` is never used again.

    loads: its slots and the mean run for each of its queues, None if it tells none. A store compares the object, not
    its values: a worker makes a new one when it has news.
    """

    id: str
    label: str = ""
    loads: Mapping[str, Offer] | None = None


class Failure(Struct, frozen=True, omit_defaults=True):
    """One failed attempt, redacted, with `traceback` cut to a bound. at: wall time in seconds."""

    attempt: int
    at: float
    type: str
    message: str
    traceback: str = ""


class Usage(Struct, frozen=True, omit_defaults=True):
    """The resources of the last run. cpu, wall: seconds; peak: the most bytes of memory, only for a child process.

    cpu is that of the run's own thread or process, without other tasks and threads that a coroutine starts.
    """

    cpu: float
    wall: float
    peak: int | None = None


class Delivery(Struct, frozen=True, gc=False):
    """One delivery of one message. attempt: runs, counted from 1; crashes: runs during which the holder died.

    begun: an earlier delivery was run, or its holder died with it; one that was given back unstarted does not count.
    """

    message: Message
    fence: Fence
    attempt: int = 1
    crashes: int = 0
    begun: bool = False
