"""What a holder tells the store about a delivery, and what the store answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Raw, Struct

from outlast.core.message import Failure, Fence, Message, Terminal, Usage
from outlast.core.policy import DEFAULTS

__all__ = [
    "ACCEPTED",
    "UNROUTABLE",
    "Accepted",
    "FullBound",
    "Exists",
    "Finish",
    "Full",
    "Lost",
    "Note",
    "Park",
    "Published",
    "Release",
    "Reschedule",
    "Settlement",
    "TooLarge",
    "Unroutable",
]


class Finish(Struct, frozen=True, gc=False):
    """The job ends in `state`. `then` becomes durable in the same step. reason: why, for every state but succeeded.

    result: JSON, kept `result_ttl` seconds; None keeps none. usage: what the run used, None when that is not kept.
    """

    fence: Fence
    state: Terminal
    reason: str | None = None
    result: Raw | None = None
    error: Failure | None = None
    then: Sequence[Message] = ()
    result_ttl: float = DEFAULTS.result_ttl
    usage: Usage | None = None


class Reschedule(Struct, frozen=True):
    """Run again at `at` (wall time) as attempt number `attempt`, counted as `crashes` times crashed.

    error None: a snooze. The job's rank moves to `at`.
    """

    fence: Fence
    at: float
    attempt: int
    error: Failure | None = None
    then: Sequence[Message] = ()
    crashes: int = 0


class Release(Struct, frozen=True):
    """Give back unfinished. Attempt, crash count and rank are kept; due again at `at`, at once when None."""

    fence: Fence
    at: float | None = None
    why: str = ""


class Park(Struct, frozen=True):
    """This worker does not know the kind: offer it again at `at` (wall time). Attempt and rank are kept."""

    fence: Fence
    at: float


Settlement = Finish | Reschedule | Release | Park


class Accepted(Struct, frozen=True):
    """Durable at the store's level. Ended for it in the same step: `replaced`, who held its unique key, and `shed`."""

    replaced: str | None = None
    shed: tuple[str, ...] = ()


class Exists(Struct, frozen=True):
    """Nothing was stored: job `id` already stands for this message. by: its id, or the unique key it holds."""

    id: str
    by: Literal["id", "unique"] = "id"


FullBound = Literal["max_depth", "max_bytes", "max_age", "per_key.max_depth", "per_key.max_bytes", "per_key.max_age"]
"""What may keep a job out of a queue, by the name of its setting."""


class Full(Struct, frozen=True):
    """The queue is at a bound; nothing was stored. retry_after: seconds, from the measured drain rate."""

    retry_after: float
    bound: FullBound = "max_depth"


class Unroutable(Struct, frozen=True):
    """No queue takes this message; nothing was stored."""


class TooLarge(Struct, frozen=True):
    """The body of `size` bytes is over `limit`, the store's or that of all jobs of its queue; nothing was stored."""

    size: int
    limit: int
    bound: Literal["max_body", "max_bytes", "per_key.max_bytes"] = "max_body"


ACCEPTED: Final = Accepted()
UNROUTABLE: Final = Unroutable()
Published = Accepted | Exists | Full | Unroutable | TooLarge


class Lost(Struct, frozen=True):
    """A fence that no longer counts: its job was superseded, or is to be cancelled by its holder."""

    fence: Fence
    why: Literal["superseded", "cancelled"]


class Note(Struct, frozen=True):
    """Something to keep about a running job: `name` is "progress" or a step's name, `value` JSON. Last write wins."""

    fence: Fence
    name: str
    value: Raw
