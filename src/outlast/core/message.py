"""What travels: a message, its delivery to a holder, and the fence that guards what the holder reports."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Raw, Struct

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
    """Return a job's place in its queue, in milliseconds: lower goes first, and it never changes while it waits."""
    return int((at - HEAD_START[priority]) * 1000)


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A job on the wire (docs/wire-format.md). Times are wall time in seconds since 1970.

    args: a JSON object, the arguments keyed by parameter name. run_at: first due. expires_at: not to be started after.
    key: what limits, fairness and erasure go by. redacted: names of arguments that nothing may show.
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
    redacted: tuple[str, ...] = ()


class Fence(Struct, frozen=True, gc=False):
    """The right to report on one hand-out of one job. `token` rises with every hand-out of a store, never given twice.

    row: the store's own address of the job; nobody else reads it.
    """

    id: str
    queue: str
    token: int
    row: int = 0


class Holder(Struct, frozen=True):
    """One incarnation of one worker process; `id` is never used again."""

    id: str
    label: str = ""


class Failure(Struct, frozen=True, omit_defaults=True):
    """One failed attempt, as it is kept: redacted, `traceback` cut to a bound. `at` is wall time in seconds."""

    attempt: int
    at: float
    type: str
    message: str
    traceback: str = ""


class Usage(Struct, frozen=True, omit_defaults=True):
    """What the last run used. Seconds of CPU and of the clock; peak: the most bytes of memory, of a process of its own.

    cpu is that of its own thread or process: what a coroutine starts as other tasks or threads is not in it.
    """

    cpu: float
    wall: float
    peak: int | None = None


class Delivery(Struct, frozen=True, gc=False):
    """One hand-out of one message. attempt counts runs from 1; crashes, hand-outs whose holder died in mid run."""

    message: Message
    fence: Fence
    attempt: int = 1
    crashes: int = 0
