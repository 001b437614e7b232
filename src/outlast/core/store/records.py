"""The protocol that reads records of jobs, with queries and their pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from msgspec import Raw, Struct, field, json

from outlast.core.kinds import name_of
from outlast.core.matching import ArgIs
from outlast.core.message import Failure, State, Usage
from outlast.core.policy import Priority

__all__ = ["JobRecord", "Page", "Query", "Records", "Without"]


class JobRecord(Struct, frozen=True, kw_only=True):
    """The record of a job, safe to show: args are redacted. Times are wall time in seconds."""

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
    begun: bool = False
    """Whether a run of it has begun and been given back, put off or failed; only a job that has not begun expires."""
    enqueued_at: float
    run_at: float
    """When the job is, or was last, due; of an ended job, when it was first due."""
    expires_at: float | None = None
    finished_at: float | None = None
    holder: str | None = None
    cancelling: bool = False
    raw_result: Raw | None = field(default=None, name="result")
    raw_progress: Raw | None = field(default=None, name="progress")
    raw_effects: Raw | None = field(default=None, name="effects")
    """What `ctx.once` keeps of a job: a JSON object, key to [result], or [] for a result that could not be kept."""
    failures: tuple[Failure, ...] = ()
    """The last failures, oldest first, at most `Defaults.failures_kept`."""
    usage: Usage | None = None
    """The resources of the last run, where they were measured and kept."""

    @property
    def result(self) -> Any:
        """The kept result as plain data: dicts, lists, text, numbers; None if there is none. `raw_result` is its JSON.

        `handle.result()` gives it as the type that the handler returns.
        """
        return None if self.raw_result is None else json.decode(self.raw_result)

    @property
    def progress(self) -> Any:
        """The last value that the handler gave to `ctx.progress`, as plain data. `raw_progress` is its JSON."""
        return None if self.raw_progress is None else json.decode(self.raw_progress)


class Without(Struct, frozen=True):
    """A condition that no job of a query meets: one of the fields of `Query`. A job without the field stays."""

    field: Literal["queue", "kind", "key", "reason", "args"]
    value: str | ArgIs

    def meets(self, *, queue: str, kind: str, key: str | None, reason: str | None) -> bool:
        """Return whether a job with these fields meets it; False for a condition on an argument."""
        if self.field == "kind":
            return self.value in (kind, name_of(kind))
        return self.field != "args" and self.value == {"queue": queue, "key": key, "reason": reason}[self.field]


class Query(Struct, frozen=True, kw_only=True):
    """A query of records: all fields that are set must match. Newest acceptance first; cursor: of the previous page.

    kind: a name matches all its versions, "send@2" only that one. accepted_before, accepted_after: bounds of
    `enqueued_at`, wall time in seconds, the first exclusive, the second inclusive. A search without an index reads the
    jobs in short steps and blocks no writer.
    """

    queue: str | None = None
    states: tuple[State, ...] = ()
    kind: str | None = None
    key: str | None = None
    reason: str | None = None
    args: tuple[ArgIs, ...] = ()
    accepted_before: float | None = None
    accepted_after: float | None = None
    without: tuple[Without, ...] = ()
    """A job that meets one of these does not match."""
    limit: int = 50
    cursor: str | None = None


class Page(Struct, frozen=True):
    """A page of records. cursor: where the next page begins, None if there is none."""

    records: list[JobRecord]
    cursor: str | None = None


class Records(Protocol):
    """Read records of jobs; change nothing."""

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`; None for an unknown id. Reads compute `expired`.

        The id of a follow-up that was not stored gives the record of the job that held its unique key.
        """
        ...

    async def find(self, query: Query) -> Page:
        """Return one page. One call reads a bounded number of jobs, so a page below `limit` may have a cursor too."""
        ...

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records as soon as all have ended or are unknown, or as they are after `timeout` seconds."""
        ...

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state; ignore limit and cursor."""
        ...
