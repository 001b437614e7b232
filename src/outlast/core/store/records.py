"""Look at jobs: records, queries and their pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Raw, Struct

from outlast.core.matching import ArgIs
from outlast.core.message import Failure, State, Usage
from outlast.core.policy import Priority

__all__ = ["JobRecord", "Page", "Query", "Records"]


class JobRecord(Struct, frozen=True, kw_only=True):
    """All that may be shown of a job. args are redacted; times are wall time in seconds."""

    id: str
    queue: str
    kind: str
    state: State
    reason: str | None = None
    args: dict[str, Any]
    priority: Priority = "normal"
    key: str | None = None
    unique: str | None = None
    attempt: int = 1
    crashes: int = 0
    enqueued_at: float
    run_at: float
    """When it is, or was last, due; once it has ended, when it was first due."""
    expires_at: float | None = None
    finished_at: float | None = None
    holder: str | None = None
    cancelling: bool = False
    result: Raw | None = None
    progress: Raw | None = None
    failures: tuple[Failure, ...] = ()
    """The last ones, oldest first, at most `Defaults.failures_kept`."""
    usage: Usage | None = None
    """What the run that ended it used, where that was measured and is worth keeping."""


class Query(Struct, frozen=True, kw_only=True):
    """Which records: all given fields must match. Newest acceptance first; `cursor` from the page before.

    kind: a name means every version of it, "send@2" that one.
    accepted_before, accepted_after: bounds of `enqueued_at`, wall time in seconds; it is before the one and not before
    the other. A search that no index serves walks over the jobs in short steps, and holds up no writer.
    """

    queue: str | None = None
    states: tuple[State, ...] = ()
    kind: str | None = None
    key: str | None = None
    reason: str | None = None
    args: tuple[ArgIs, ...] = ()
    accepted_before: float | None = None
    accepted_after: float | None = None
    limit: int = 50
    cursor: str | None = None


class Page(Struct, frozen=True):
    """Records and where the next page begins; cursor None: there is none."""

    records: list[JobRecord]
    cursor: str | None = None


class Records(Protocol):
    """Look at jobs; change nothing."""

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`; None for one that is not known. Reads compute `expired`."""
        ...

    async def find(self, query: Query) -> Page:
        """Return one page; one with fewer than `limit` may have a cursor all the same: so far one call has looked."""
        ...

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records as soon as all have ended or are unknown, or as they are after `timeout` seconds."""
        ...

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state; limit and cursor are not looked at."""
        ...
