"""Settlements and notes that a holder sends to the store, and the answers of the store to them and to a publish."""

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


# The tags let a child process send its settlement to the worker as JSON.
class Finish(Struct, frozen=True, gc=False, tag=True):
    """End the job in `state`. then: follow-ups, durable in the same step. reason: set for all states but succeeded.

    result: JSON, kept for `result_ttl` seconds; None keeps none. usage: the resources of the run, None if not kept.
    kind: of the job, on the wire; with "" the store reads it, which takes longer for jobs that succeeded.
    """

    fence: Fence
    state: Terminal
    reason: str | None = None
    result: Raw | None = None
    error: Failure | None = None
    then: Sequence[Message] = ()
    result_ttl: float = DEFAULTS.result_ttl
    usage: Usage | None = None
    kind: str = ""


class Reschedule(Struct, frozen=True, tag=True):
    """Run again at `at` (wall time) as attempt number `attempt`, with crash count `crashes`.

    error None: a snooze. The job's rank is computed from `at`. begun: its run had started, so that it does not expire
    any more.
    """

    fence: Fence
    at: float
    attempt: int
    error: Failure | None = None
    then: Sequence[Message] = ()
    crashes: int = 0
    begun: bool = True


class Release(Struct, frozen=True, tag=True):
    """Give back the unfinished job. It keeps attempt, crash count and rank, and is due at `at`, at once when None.

    begun: its run had started, so that it does not expire any more. guard: the guard that refused a call of its
    handler, if that is why. The store keeps `waits_for` as the reason of the job until it is handed out again.
    """

    fence: Fence
    at: float | None = None
    why: str = ""
    begun: bool = False
    guard: str = ""

    @property
    def waits_for(self) -> str | None:
        """What the job waits for, in words; None if it was not put off by a guard."""
        return self.why if self.guard else None


class Park(Struct, frozen=True):
    """Offer the job again at `at` (wall time): this worker has no handler for its kind. It keeps attempt and rank."""

    fence: Fence
    at: float


Settlement = Finish | Reschedule | Release | Park


class Accepted(Struct, frozen=True):
    """The message is durable at the store's level.

    Ids of jobs that ended in the same step: `replaced` held its unique key or waited for it, `shed` made room for it.
    """

    replaced: str | None = None
    shed: tuple[str, ...] = ()


class Exists(Struct, frozen=True):
    """Nothing was stored, because of job `id`. by: that job has the same id, or holds the unique key.

    kind: of that job, on the wire; "" where the store does not know it any more.
    """

    id: str
    by: Literal["id", "unique"] = "id"
    kind: str = ""


FullBound = Literal[
    "max_depth", "max_bytes", "max_age", "max_wait", "per_key.max_depth", "per_key.max_bytes", "per_key.max_age"
]
"""The bounds that may refuse a job, by the names of the settings."""


class Full(Struct, frozen=True):
    """The queue is at a bound; nothing was stored.

    retry_after: seconds until the queue has room, from how fast its jobs end. every: seconds that each further client
    waits longer, so that they do not all come back at once; 0 if that is unknown.
    """

    retry_after: float
    bound: FullBound = "max_depth"
    every: float = 0.0


class Unroutable(Struct, frozen=True):
    """No queue accepts this message; nothing was stored."""


class TooLarge(Struct, frozen=True):
    """The body of `size` bytes exceeds `limit`, of the setting `bound`; nothing was stored."""

    size: int
    limit: int
    bound: Literal["max_body", "max_bytes", "per_key.max_bytes"] = "max_body"


ACCEPTED: Final = Accepted()
UNROUTABLE: Final = Unroutable()
Published = Accepted | Exists | Full | Unroutable | TooLarge


class Lost(Struct, frozen=True):
    """A fence that was superseded, or whose holder must cancel the job."""

    fence: Fence
    why: Literal["superseded", "cancelled"]


class Note(Struct, frozen=True):
    """A value to keep for a running job. name: "progress" or the name of a step; value: JSON. The last write wins."""

    fence: Fence
    name: str
    value: Raw
