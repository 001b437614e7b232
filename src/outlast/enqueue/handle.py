"""The handle of an accepted job: its id, and calls that read its state, wait for its result and cancel it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from msgspec import structs

from outlast.core.errors import JobCancelled, JobExpired, JobFailed, JobNotFound, ResultTimeout
from outlast.core.ids import queue_of
from outlast.core.message import TERMINAL, Message, State
from outlast.core.policy import seconds
from outlast.core.settlement import ACCEPTED, Accepted, Exists

if TYPE_CHECKING:
    from outlast.core.durability import Durability
    from outlast.core.store.records import JobRecord
    from outlast.enqueue.runtime import Runtime

__all__ = ["Handle", "HandleOfKind"]

R_co = TypeVar("R_co", covariant=True)

_STEP: Final = 60.0
"""Seconds of one wait at the store; a longer wait repeats it."""


class Handle(Generic[R_co]):
    """One job, found by its id.

    durability: what the accepted job survives at least; "unknown" for a handle made from an id.
    created: False when an existing job has the same id or unique key (`conflict`: "id" or "unique"); `id` is its id.
    replaced: the id of the job that held the unique key, or waited for it, and was cancelled for this one.
    """

    __slots__ = ("_runtime", "conflict", "durability", "id", "replaced")

    def __init__(
        self,
        job_id: str,
        runtime: Callable[[], Awaitable[Runtime]],
        *,
        durability: Durability = "unknown",
        conflict: Literal["id", "unique"] | None = None,
    ) -> None:
        queue_of(job_id)
        self.id = job_id
        self.durability: Durability = durability
        self.conflict: Literal["id", "unique"] | None = conflict
        self.replaced: str | None = None
        self._runtime = runtime

    @classmethod
    def of(
        cls,
        message: Message,
        answer: Accepted | Exists,
        runtime: Callable[[], Awaitable[Runtime]],
        durability: Durability,
    ) -> Handle[Any]:
        """Return the handle of a published message."""
        handle: Handle[Any] = cls.__new__(cls)
        handle.id = message.id
        handle.durability = durability
        handle.conflict = None
        handle._runtime = runtime
        if answer is ACCEPTED:
            handle.replaced = None
        elif type(answer) is Exists:
            handle.id, handle.conflict, handle.replaced = answer.id, answer.by, None
        else:
            assert isinstance(answer, Accepted)
            handle.replaced = answer.replaced
        return handle

    @property
    def created(self) -> bool:
        """Whether this call stored a new job."""
        return self.conflict is None

    @property
    def queue(self) -> str:
        """The queue, which is part of the id."""
        return queue_of(self.id)

    async def record(self, *, fetch: bool = True) -> JobRecord:
        """Return the record of the job, redacted, with its result; raise JobNotFound.

        Of a large result (`objects_over`) also ToolkitAway, ObjectNotFound, ObjectDamaged. Large arguments are not in
        the record: their reference is. fetch: False leaves the reference of a large result in the record too, and asks
        the object store for nothing.
        """
        kept = await self._kept()
        return await _with_result(await self._runtime(), kept) if fetch else kept

    async def status(self) -> State:
        """Return the current state of the job; raise JobNotFound."""
        return (await self._kept()).state

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait until the job has ended and return its result, None when no result was kept.

        A result that does not fit the handler's return type is returned as the plain data that is kept.

        timeout: seconds; None waits without limit. Raise JobFailed, JobCancelled, JobExpired, JobNotFound, or
        ResultTimeout when the job has not ended by then (the job continues); for a large result (`objects_over`) also
        ToolkitAway, ObjectNotFound, ObjectDamaged.
        """
        runtime = await self._runtime()
        limit = None if timeout is None else seconds(timeout, "timeout")
        deadline = None if limit is None else runtime.clock.monotonic() + limit
        while True:
            wait = _STEP if deadline is None else min(_STEP, max(0.0, deadline - runtime.clock.monotonic()))
            record = self._found(runtime, (await runtime.store.records.wait([self.id], wait))[0])
            if record.state in TERMINAL:
                value: R_co = self._outcome(runtime, await _with_result(runtime, record))
                return value
            if deadline is not None and runtime.clock.monotonic() >= deadline:
                raise ResultTimeout(self.id, record.state, limit or 0.0)

    async def cancel(self) -> bool:
        """Cancel a waiting job, or request a running job to stop; return False if it had ended. Raise JobNotFound."""
        from outlast.core.store.control import Cancel  # not needed to declare jobs

        runtime = await self._runtime()
        answer = (await runtime.store.control.apply([Cancel(self.id)]))[0]
        if answer.why == "unknown":
            record = await self._kept()  # a follow-up's id may lead to another job
            answer = (await runtime.store.control.apply([Cancel(record.id)]))[0]
        return answer.ok

    async def _kept(self) -> JobRecord:
        """Return the record as it is kept: a reference stands for a large result."""
        runtime = await self._runtime()
        return self._found(runtime, (await runtime.store.records.get([self.id]))[0])

    def _found(self, runtime: Runtime, record: JobRecord | None) -> JobRecord:
        if record is None:
            raise JobNotFound(f"no record of job {self.id}: it never existed here, or retention or a purge removed it")
        return record

    def _outcome(self, runtime: Runtime, record: JobRecord) -> Any:
        match record.state:
            case "succeeded":
                if record.raw_result is None:
                    from outlast.core.unreadable import UNREADABLE, unread_result  # not needed to declare jobs

                    if (failure := unread_result(record.failures)) is not None:
                        raise JobFailed(self.id, UNREADABLE, failure.message)
                    return None
                arguments = runtime.arguments.get(record.kind)
                return record.result if arguments is None else arguments.load_result(record.raw_result)
            case "cancelled":
                raise JobCancelled(self.id, _why(record))
            case "expired":
                raise JobExpired(self.id, _why(record))
            case _:
                last = record.failures[-1] if record.failures else None
                raise JobFailed(self.id, record.reason or "dead", f"{last.type}: {last.message}" if last else "")

    def __repr__(self) -> str:
        return f"Handle({self.id!r}, durability={self.durability!r}, created={self.created})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


class HandleOfKind(Handle[R_co]):
    """The handle of a job that must be of one kind: for a job of another kind, its calls raise JobNotFound."""

    __slots__ = ("_kind",)

    def __init__(self, job_id: str, runtime: Callable[[], Awaitable[Runtime]], kind: str) -> None:
        super().__init__(job_id, runtime)
        self._kind = kind

    async def cancel(self) -> bool:
        """Cancel a waiting job, or request a running job to stop; return False if it had ended. Raise JobNotFound."""
        await self._kept()
        return await super().cancel()

    def _found(self, runtime: Runtime, record: JobRecord | None) -> JobRecord:
        found = super()._found(runtime, record)
        if not runtime.registry.same_kind(found.kind, self._kind):
            raise JobNotFound(
                f"job {self.id} is of kind {found.kind!r}, not {self._kind!r}: make its handle with the job of its "
                "kind, or with handle() of the app, which takes every kind"
            )
        return found


async def _with_result(runtime: Runtime, record: JobRecord) -> JobRecord:
    """Return a record with its result, where a reference to the object store stands for it."""
    kept = record.raw_result
    if kept is None or (result := await runtime.claims.check_out(record.id, kept)) is kept:
        return record
    return structs.replace(record, raw_result=result)


def _why(record: JobRecord) -> str:
    """Return the reason in brackets when it says more than the state."""
    return f" ({record.reason})" if record.reason in ("shed", "replaced") else ""
