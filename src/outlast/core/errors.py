"""Every error that Outlast raises; each message names the setting and the fix."""

from __future__ import annotations

__all__ = [
    "BodyTooLarge",
    "ConfigurationError",
    "DuplicateKind",
    "EnqueueUnknown",
    "InvalidArguments",
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
    "StoreUnavailable",
    "StoreUncertain",
    "UniqueConflict",
    "UnsafeStore",
    "WireError",
    "WrongThread",
]


class OutlastError(Exception):
    """The base of every error that Outlast raises."""


class ConfigurationError(OutlastError):
    """A declaration or a setting is wrong; the message names it and the fix. Raised before any job is touched."""


class DuplicateKind(ConfigurationError):
    """Two handlers were declared for one kind."""


class InvalidArguments(OutlastError, ValueError):
    """The arguments do not fit the handler's signature. At enqueue nothing was stored; at run the job is dead."""


class WireError(OutlastError, ValueError):
    """Bytes that claim to be a job do not follow docs/wire-format.md."""


class WrongThread(OutlastError, RuntimeError):
    """A blocking call was made on an event loop's own thread, where it would stop every other task."""


class QueueFull(OutlastError):
    """A bounded queue refused the job; nothing was stored. Try again in `retry_after` seconds.

    bound: the setting that it is at, such as "max_depth", or "per_key.max_depth" where only the job's key is.
    """

    def __init__(self, queue: str, retry_after: float, bound: str = "max_depth") -> None:
        full = f"queue {queue!r} is full for this key" if bound.startswith("per_key.") else f"queue {queue!r} is full"
        super().__init__(f"{full} ({bound}): try again in {retry_after:.0f} s, raise {bound}, or add workers")
        self.queue = queue
        self.retry_after = retry_after
        self.bound = bound


class BodyTooLarge(OutlastError, ValueError):
    """A job's body, or what it shows as progress, is larger than `max_body` bytes; it was not stored.

    bound: the setting, "max_body" unless the queue's `max_bytes` for all of its jobs is less than this one needs.
    """

    def __init__(self, kind: str, size: int, limit: int, bound: str = "max_body") -> None:
        setting = "Settings(max_body=...)" if bound == "max_body" else f"the queue's {bound}"
        super().__init__(
            f"job {kind!r} has a body of {size} bytes, more than {bound}={limit}: "
            f"store the data elsewhere and pass its address, or raise {setting}"
        )
        self.kind = kind
        self.size = size
        self.limit = limit
        self.bound = bound


class UniqueConflict(OutlastError):
    """Another unfinished job holds the unique key, and the call asked to raise."""

    def __init__(self, key: str, existing: str) -> None:
        super().__init__(f"unique key {key!r} is held by job {existing!r}: wait for it, or pass on_conflict='existing'")
        self.key = key
        self.existing = existing


class EnqueueUnknown(OutlastError):
    """The store did not answer in time: the job may have been accepted. Repeating the call with this `id` is safe."""

    def __init__(self, job_id: str, cause: str) -> None:
        super().__init__(f"job {job_id!r} may or may not have been accepted ({cause}): repeat with id={job_id!r}")
        self.id = job_id


class StoreError(OutlastError):
    """The store refused or failed; nothing of the call was kept unless the subclass says otherwise."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or is locked by somebody else past the deadline."""


class StoreMissing(StoreUnavailable):
    """There is no store where a tool looked, and looking must not make one."""


class StoreUncertain(StoreUnavailable):
    """The line to the store broke after the call was sent: it may have been done. Repeating the same call is safe."""


class StoreFull(StoreError):
    """The store's disk, or memory, is full. Nothing accepted is lost; the call may be repeated when space returns."""


class StoreCorrupt(StoreError):
    """The file is not a store of Outlast, or it is damaged. It is left untouched."""


class UnsafeStore(ConfigurationError):
    """The file cannot be kept safely here: a network file system, or an SQLite with the WAL-reset bug."""


class JobNotFound(OutlastError, LookupError):
    """No record of this job: it never existed here, or retention, purge or shedding removed it."""


class ResultTimeout(OutlastError, TimeoutError):
    """The job had not ended when the wait's timeout passed; it goes on."""


class JobFailed(OutlastError):
    """The job is dead. `reason` is its named end, `error` the last failure's text (redacted)."""

    def __init__(self, job_id: str, reason: str, error: str) -> None:
        super().__init__(f"job {job_id} is dead ({reason}): {error}")
        self.id = job_id
        self.reason = reason
        self.error = error


class JobCancelled(OutlastError):
    """The job was cancelled before it succeeded."""


class JobExpired(OutlastError):
    """The job's time to start (`expires`) passed before it ran."""
