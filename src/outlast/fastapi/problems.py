"""RFC 9457 responses (application/problem+json) for Outlast's errors, with Retry-After where a retry can help."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from outlast.core.errors import (
    BodyTooLarge,
    BulkheadFull,
    DeadlinePassed,
    EnqueueUnknown,
    EventIncomplete,
    EventUnroutable,
    GuardOpen,
    GuardTimeout,
    IdConflict,
    InvalidArguments,
    InvalidEvent,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    OutlastError,
    QueueFull,
    ResultTimeout,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UniqueConflict,
)
from outlast.core.toolkit_errors import (
    BoardFull,
    LockLost,
    LockTimeout,
    ObjectDamaged,
    ObjectNotFound,
    SessionConflict,
    SessionEnded,
    SessionFull,
    ToolkitAway,
)
from outlast.toolkit.limiter.decision import Decision

__all__ = [
    "MEDIA_TYPE",
    "LimitRefused",
    "Problem",
    "answer",
    "handlers",
    "response_of",
    "session_refused",
    "too_many_requests",
    "toolkit_unavailable",
]

MEDIA_TYPE: Final = "application/problem+json"
STORE_RETRY: Final = 5
"""The Retry-After seconds of an unavailable store; fixed, since the end of an outage cannot be predicted."""
QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
"""The problem type of draft-ietf-httpapi-ratelimit-headers-11, section 5.1, to which `violated-policies` belongs."""
RESULT_RETRY: Final = 1
"""The Retry-After seconds of a job that has not ended yet."""
_LONGEST: Final = 86_400
_log = logging.getLogger("outlast.fastapi")

Handler = Callable[[Request, Exception], Awaitable[JSONResponse]]


class Problem(BaseModel):
    """An RFC 9457 response. Some have more fields: `queue`, `bound` and `retry_after`, or `job` with the job's id."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="The stable code of the error, such as 'queue-full'.")


def answer(
    status: int, code: str, detail: str, *, retry_after: float | None = None, longest: int = _LONGEST, **more: Any
) -> JSONResponse:
    """Return the response. retry_after: seconds, rounded up to a whole number from 1 to `longest`."""
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        whole = min(longest, max(1, math.ceil(retry_after))) if math.isfinite(retry_after) else longest
        headers["Retry-After"] = str(whole)
        more["retry_after"] = whole
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code, **more)
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


class LimitRefused(HTTPException):
    """A limiter has refused the request. response: the answer; an app without `install` answers with its parts."""

    def __init__(self, response: JSONResponse) -> None:
        detail = json.loads(bytes(response.body))["detail"]
        own = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        super().__init__(response.status_code, detail, own)
        self.response = response


def too_many_requests(decision: Decision) -> JSONResponse:
    """Return the answer to a request that a limiter has refused, with its headers."""
    wait = max(1, math.ceil(decision.retry_after))
    response = answer(
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate-limited",
        f"too many requests: try again in {wait} s",
        retry_after=decision.retry_after,
        longest=wait,  # the draft: not before the end of the window, however long that is
        type=QUOTA_EXCEEDED,
        **{"violated-policies": list(decision.violated)},
    )
    for name, value in decision.headers:
        if name != "Retry-After":
            response.headers.append(name, value)
    return response


def toolkit_unavailable(error: ToolkitAway) -> JSONResponse:
    """Return the answer where a piece of the toolkit is closed while its store is away."""
    detail = "the service cannot check this request now: try again later"
    return answer(503, "toolkit-unavailable", detail, retry_after=error.retry_after or 1.0)


def session_refused(error: SessionEnded | SessionConflict | SessionFull) -> JSONResponse:
    """Return the answer to a request whose changes of its session were not stored."""
    if isinstance(error, SessionFull):
        return answer(422, "session-full", "the session has no room for this: nothing of it was stored")
    if isinstance(error, SessionConflict):
        detail = "another request has changed the same part of the session: read it, and send this request again"
        return answer(409, "session-conflict", detail, retry_after=RESULT_RETRY)
    detail = "the session was ended, or its id replaced, while this request ran: send it again with the present cookie"
    return answer(409, "session-ended", detail)


def response_of(description: str, *, retry_after: bool = False) -> dict[str, Any]:
    """Return the OpenAPI description of a problem response."""
    described: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
    if retry_after:
        described["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return described


def _handler(make: Callable[[Any], JSONResponse]) -> Handler:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        return make(error)

    return handle


def _logged(error: OutlastError, status: int, code: str, detail: str) -> JSONResponse:
    """Return the response to an error that operators must see: no answer has its text, so only the log tells it."""
    _log.error("answered with %d (%s): %s", status, code, error, exc_info=error)
    return answer(status, code, detail)


def handlers(full_status: int) -> dict[type[Exception], Handler]:
    """Return the handler of each error. Their responses contain no file name and no value of a setting or argument."""

    def full(error: QueueFull) -> JSONResponse:
        per_key = error.bound.startswith("per_key.")
        return answer(
            HTTPStatus.TOO_MANY_REQUESTS if per_key else full_status,  # per key: other clients are accepted
            "queue-full",
            f"queue {error.queue!r} is full{' for you' if per_key else ''} ({error.bound}): try again later",
            retry_after=error.retry_after,
            queue=error.queue,
            bound=error.bound,
        )

    def incomplete(error: EventIncomplete) -> JSONResponse:
        again = "send it again with the same id"
        never = "it is too large for one of them, so that sending it again does not help"
        return answer(
            413 if error.retry_after is None else full_status,
            "event-incomplete",
            f"not every queue has taken the event: {never if error.retry_after is None else again}",
            retry_after=error.retry_after,
            event=error.id,
        )

    def unknown(error: EnqueueUnknown) -> JSONResponse:
        named: dict[str, Any] = {error.what: error.id}
        fix = "send it again with" if error.what == "event" else "read its state by"
        then = "" if error.what == "event" else " before sending it again"
        detail = f"the {error.what} may or may not have been accepted: {fix} this id{then}"
        return answer(503, "enqueue-unknown", detail, **named)

    def timeout(error: ResultTimeout) -> JSONResponse:
        return answer(
            504,
            "result-timeout",
            "the job has not ended yet and continues: read its state by this id",
            retry_after=RESULT_RETRY,
            job=error.id,
        )

    responses: dict[type[Exception], Callable[[Any], JSONResponse]] = {
        QueueFull: full,
        EnqueueUnknown: unknown,
        EventIncomplete: incomplete,
        EventUnroutable: lambda error: answer(
            503, "event-unroutable", "no queue takes this event now, and nothing was stored", event=error.id
        ),
        UniqueConflict: lambda error: answer(
            409, "unique-conflict", "another unfinished job has the same unique key", job=error.existing
        ),
        IdConflict: lambda error: answer(409, "id-conflict", "another kind of job has the same id", job=error.id),
        BodyTooLarge: lambda error: answer(
            413, "body-too-large", f"the body has {error.size} bytes, more than the limit of {error.limit}"
        ),
        StoreUnavailable: lambda _: answer(
            503, "store-unavailable", "the job store cannot be reached now", retry_after=STORE_RETRY
        ),
        ToolkitAway: toolkit_unavailable,
        BoardFull: lambda _: answer(503, "board-full", "the board has no room for a new member"),
        LimitRefused: lambda error: error.response,
        StoreFull: lambda _: answer(503, "store-full", "the job store has no space now", retry_after=STORE_RETRY),
        StoreCorrupt: lambda error: _logged(error, 500, "store-corrupt", "the job store cannot be used"),
        StoreError: lambda error: _logged(error, 503, "store-failed", "the job store has refused the call"),
        ResultTimeout: timeout,
        JobFailed: lambda error: answer(
            500, "job-failed", f"the job failed for good ({error.reason})", job=error.id, reason=error.reason
        ),
        JobCancelled: lambda error: answer(409, "job-cancelled", "the job was cancelled", job=error.id),
        JobExpired: lambda error: answer(410, "job-expired", "the job expired before it began", job=error.id),
        GuardOpen: lambda error: answer(
            503,
            "dependency-unavailable",
            f"{error.guard!r} does not answer now, and no call was made",
            retry_after=error.retry_after,
            guard=error.guard,
        ),
        BulkheadFull: lambda error: answer(
            503,
            "dependency-busy",
            f"too many calls of {error.guard!r} run now, and no call was made",
            retry_after=RESULT_RETRY,
            guard=error.guard,
        ),
        DeadlinePassed: lambda error: answer(
            504, "deadline-passed", f"the deadline passed before {error.guard!r} was called", guard=error.guard
        ),
        GuardTimeout: lambda error: answer(
            504, "dependency-timeout", f"{error.guard!r} has not answered in time", guard=error.guard
        ),
        LockTimeout: lambda _: answer(
            503, "lock-timeout", "others are doing this now, and its turn did not come", retry_after=RESULT_RETRY
        ),
        LockLost: lambda _: answer(
            503, "lock-lost", "it was interrupted, because its lock was lost: look at what was done"
        ),
        SessionConflict: session_refused,
        SessionEnded: session_refused,
        SessionFull: session_refused,
        InvalidArguments: lambda error: answer(422, "invalid-arguments", str(error)),
        InvalidEvent: lambda error: answer(
            422, "invalid-arguments", f"the {error.part} of the event cannot be used: {error.needs}"
        ),
        ObjectNotFound: lambda _: answer(404, "object-not-found", "no such object: it was never there, or was deleted"),
        ObjectDamaged: lambda error: _logged(error, 500, "object-damaged", "the object is not what was stored"),
        JobNotFound: lambda _: answer(
            404, "job-not-found", "no such job: it never existed here, or its record was removed"
        ),
    }
    return {error: _handler(make) for error, make in responses.items()}
