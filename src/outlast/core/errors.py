"""Every error that Outlast raises but those of the toolkit; each message names the setting and the fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "BodyTooLarge",
    "BulkheadFull",
    "ConfigurationError",
    "DeadlinePassed",
    "DuplicateKind",
    "EnqueueUnknown",
    "EventIncomplete",
    "EventUnroutable",
    "GuardError",
    "GuardOpen",
    "GuardRefused",
    "GuardTimeout",
    "IdConflict",
    "InvalidArguments",
    "InvalidEvent",
    "InvalidOption",
    "JobCancelled",
    "JobExpired",
    "JobFailed",
    "JobNotFound",
    "OutlastError",
    "QueueFull",
    "ResultTimeout",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreMissing",
    "StoreMoved",
    "StoreRefused",
    "StoreUnavailable",
    "StoreUncertain",
    "UniqueConflict",
    "UnsafeStore",
    "WireError",
    "WrongThread",
]


class OutlastError(Exception):
    """The base class of every error that Outlast raises.

    Of an enqueue of several messages: stored, the ids of the jobs that are stored, in order; unstored, the messages
    that are not, or not known to be. Sending these again is safe: they keep their ids.
    """

    stored: tuple[str, ...] = ()
    unstored: tuple[Any, ...] = ()


class ConfigurationError(OutlastError):
    """A declaration or a setting is wrong; the message names it and the fix. Raised before any job changes."""


class DuplicateKind(ConfigurationError):
    """Two handlers were declared for one kind."""


class InvalidArguments(OutlastError, ValueError):
    """The arguments do not fit the handler's signature, or would arrive changed.

    In `enqueue`, nothing was stored; in a run, the job is dead.
    """


class InvalidOption(InvalidArguments, ConfigurationError):
    """A key, a unique key or the headers of a job are too long, or a unique key is empty; nothing was stored.

    They often come from a client, whose fault it is then.
    """


class InvalidEvent(InvalidArguments, ConfigurationError):
    """The routing key or the headers of an event do not fit; nothing was stored.

    They often come from a client, whose fault it is then. part: "key" or "headers". needs: what the part must be,
    without its value, which may be secret.
    """

    def __init__(self, problem: str, part: str, needs: str) -> None:
        super().__init__(problem)
        self.part = part
        self.needs = needs


class WireError(OutlastError, ValueError):
    """Bytes that should be a job do not follow docs/wire-format.md."""


class WrongThread(OutlastError, RuntimeError):
    """A blocking call was made on the thread of an event loop, where it would stop every other task."""


class QueueFull(OutlastError):
    """A bounded queue refused the job; nothing was stored. Try again in `retry_after` seconds.

    bound: the setting that was reached, such as "max_depth", or "per_key.max_depth" when only the job's key reached it;
    "max_wait" for a job that would begin too late.
    """

    def __init__(self, queue: str, retry_after: float, bound: str = "max_depth") -> None:
        full = f"queue {queue!r} is full for this key" if bound.startswith("per_key.") else f"queue {queue!r} is full"
        if bound == "max_wait":
            full = f"a new job of queue {queue!r} would not begin in time"
        super().__init__(f"{full} ({bound}): try again in {retry_after:.0f} s, raise {bound}, or add workers")
        self.queue = queue
        self.retry_after = retry_after
        self.bound = bound


class BodyTooLarge(OutlastError, ValueError):
    """A job's body, or its progress value, is larger than `limit` bytes; it was not stored.

    bound: the setting: "max_body", or `max_bytes` of the queue or key when this job alone exceeds it.
    """

    def __init__(self, kind: str, size: int, limit: int, bound: str = "max_body", *, what: str = "job") -> None:
        setting = "Settings(max_body=...)" if bound == "max_body" else f"the queue's {bound}"
        super().__init__(
            f"{what} {kind!r} has a body of {size} bytes, more than {bound}={limit}: "
            f"store the data elsewhere and pass its address, or raise {setting}"
        )
        self.kind = kind
        self.size = size
        self.limit = limit
        self.bound = bound


class UniqueConflict(OutlastError):
    """Another unfinished job holds the unique key: the call has on_conflict="raise", or that job is of another kind."""

    def __init__(self, key: str, existing: str, kind: str = "") -> None:
        if kind:
            fix = f"of kind {kind!r}: wait for it, give another key, or leave out scope='queue'"
        else:
            fix = "wait for it, or pass on_conflict='existing'"
        super().__init__(f"unique key {key!r} is held by job {existing!r}{' ' if kind else ': '}{fix}")
        self.key = key
        self.existing = existing
        self.kind = kind


class IdConflict(OutlastError):
    """The id belongs to a job of another kind; nothing was stored. kind: of that job."""

    def __init__(self, job_id: str, kind: str, wanted: str) -> None:
        super().__init__(
            f"id {job_id!r} belongs to a job of kind {kind!r}, so a job of kind {wanted!r} cannot have it: give "
            f"another id=, such as one that begins with {wanted!r}; if the kind was renamed, aliases=({kind!r},)"
        )
        self.id = job_id
        self.kind = kind


class EnqueueUnknown(OutlastError):
    """The store did not answer in time: the job or event may have been accepted. Repeating it with `id` is safe.

    ids: of all jobs, or events, of the call. what: "job" or "event".
    """

    def __init__(self, job_id: str, cause: str, ids: Sequence[str] = (), *, what: str = "job") -> None:
        others = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        many = "events" if what == "event" else "messages"
        fix = f"send the same {many} again" if others else f"repeat with id={job_id!r}"
        super().__init__(f"{what} {job_id!r}{others} may or may not have been accepted ({cause}): {fix}")
        self.id = job_id
        self.ids = tuple(ids) or (job_id,)
        self.what = what


class EventUnroutable(OutlastError):
    """No binding of the exchange takes an event; nothing was stored. id: of the event."""

    def __init__(self, exchange: str, key: str, event_id: str) -> None:
        super().__init__(
            f"no binding of exchange {exchange!r} takes an event with key {key!r} and its headers (`outlast route` "
            "shows why): bind a job to it with on=, or declare the exchange with unroutable='keep'"
        )
        self.exchange = exchange
        self.key = key
        self.id = event_id


class EventIncomplete(OutlastError):
    """Queues refused their copies of an event; the copies of the other queues are stored.

    Publishing the event again with this `id` stores what is missing, and nothing twice. published: the
    `PublishedEvent`, with the copies that are stored. refused: by queue, the error (QueueFull or BodyTooLarge).
    retry_after: seconds until every queue may accept its copy; None if one never will.
    """

    def __init__(self, exchange: str, event_id: str, refused: Mapping[str, OutlastError], published: Any) -> None:
        waits = [error.retry_after if isinstance(error, QueueFull) else None for error in refused.values()]
        self.retry_after = None if None in waits else max(each for each in waits if each is not None)
        others = ", and is for the other queues" if published is not None and published.copies else ""
        again = f"publish it again with id={event_id!r}"
        again = f"{again} once it fits" if self.retry_after is None else f"{again} in {self.retry_after:.0f} s"
        super().__init__(
            f"event {event_id!r} of exchange {exchange!r} is not stored for {', '.join(map(repr, refused))}{others}: "
            f"{again}; {'; '.join(map(str, refused.values()))}"
        )
        self.exchange = exchange
        self.id = event_id
        self.refused = dict(refused)
        self.published = published


class StoreError(OutlastError):
    """The store refused the call or failed; nothing of the call was kept unless the subclass says otherwise."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or another process locked it for longer than the deadline."""


class StoreMissing(StoreUnavailable):
    """There is no store at the URL that a tool reads, and the tool must not create one."""


class StoreMoved(StoreUnavailable):
    """The path of the open file leads to another file, or to none; restart the process to use the file that is there.

    The call may have reached the file that was moved away, which this process does not use any more.
    """


class StoreUncertain(StoreUnavailable):
    """The connection broke after the call was sent: the store may have done it. Repeating the same call is safe."""


class StoreFull(StoreError):
    """The store's disk or memory is full. No accepted job is lost; repeat the call when there is space again."""


class StoreRefused(StoreError):
    """The server refuses the user of the URL, or its password; nothing was done. An operator must correct it."""


class StoreCorrupt(StoreError):
    """The file is not a store of Outlast, or it is damaged. It was not changed."""


class UnsafeStore(ConfigurationError):
    """The file would not be safe here: it is on a network file system, or this SQLite has the WAL-reset bug."""


class JobNotFound(OutlastError, LookupError):
    """There is no record of this job: it never existed here, or retention, purge or shedding removed it."""


class ResultTimeout(OutlastError, TimeoutError):
    """The job had not ended when the timeout of the wait passed; the job continues. id: of the job."""

    def __init__(self, job_id: str, state: str, timeout: float) -> None:
        super().__init__(f"job {job_id} is still {state} after {timeout:g} s; the job continues")
        self.id = job_id


class JobFailed(OutlastError):
    """The job is dead. reason: why, one of the documented names. error: the text of the last failure, redacted."""

    def __init__(self, job_id: str, reason: str, error: str) -> None:
        super().__init__(f"job {job_id} is dead ({reason}): {error}")
        self.id = job_id
        self.reason = reason
        self.error = error


class JobCancelled(OutlastError):
    """The job was cancelled before it succeeded. id: of the job."""

    def __init__(self, job_id: str, why: str = "") -> None:
        super().__init__(f"job {job_id} was cancelled{why}")
        self.id = job_id


class JobExpired(OutlastError):
    """The job's `expires` time passed before its first run. id: of the job."""

    def __init__(self, job_id: str, why: str = "") -> None:
        super().__init__(f"job {job_id} expired before it ran{why}")
        self.id = job_id


class GuardError(OutlastError):
    """A guard refused or ended a call to its dependency. guard: its name."""

    def __init__(self, guard: str, message: str) -> None:
        super().__init__(message)
        self.guard = guard


class GuardRefused(GuardError):
    """The call was not made: repeating it is safe. retry_after: seconds from which on it may be, None if not known."""

    retry_after: float | None = None


class GuardOpen(GuardRefused):
    """The breaker is open, or lets only a share of the calls through after it has closed; the call was not made.

    why: what opened it. retry_after: seconds until the next probe, or until more calls are let through.
    """

    retry_after: float

    def __init__(self, guard: str, retry_after: float, why: str) -> None:
        super().__init__(guard, f"guard {guard!r} made no call ({why}): try again in {retry_after:.1f} s")
        self.retry_after = retry_after
        self.why = why


class BulkheadFull(GuardRefused):
    """As many calls as the bulkhead permits were running, and this one got no turn; it was not made.

    concurrency: of the bulkhead. bound: the setting that was reached: "max_wait" or "max_waiting".
    """

    def __init__(self, guard: str, concurrency: int, bound: str = "max_wait") -> None:
        why = "its turn did not come within max_wait" if bound == "max_wait" else "max_waiting others were waiting"
        super().__init__(
            guard,
            f"guard {guard!r} made no call: concurrency={concurrency} calls were running, and {why}: raise concurrency "
            f"or {bound} of its Bulkhead, or make fewer calls at once",
        )
        self.concurrency = concurrency
        self.bound = bound


class DeadlinePassed(GuardRefused, TimeoutError):
    """The deadline of the caller had passed before the call could be made; it was not made.

    late: seconds since the deadline. It says nothing about the dependency and counts for no breaker.
    """

    def __init__(self, guard: str, late: float = 0.0) -> None:
        super().__init__(
            guard,
            f"guard {guard!r} made no call: the deadline of its caller passed {late:.1f} s before: give the caller "
            "more time, or let it do less before this call",
        )
        self.late = late


class GuardTimeout(GuardError, TimeoutError):
    """The call took longer than `timeout` seconds and was ended; the dependency may have done what was asked.

    running: whether it goes on in its thread, which cannot be stopped.
    """

    def __init__(self, guard: str, timeout: float, *, running: bool = False) -> None:
        super().__init__(
            guard,
            f"guard {guard!r}: the call took longer than timeout={timeout:g} s: raise timeout, or find out why the "
            "dependency is slow",
        )
        self.timeout = timeout
        self.running = running
