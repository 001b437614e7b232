"""Outlast's errors as RFC 9457 answers, application/problem+json, with Retry-After where waiting helps."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from outlast.core.errors import (
    BodyTooLarge,
    EnqueueUnknown,
    InvalidArguments,
    JobNotFound,
    QueueFull,
    StoreFull,
    StoreUnavailable,
    UniqueConflict,
)

__all__ = ["MEDIA_TYPE", "Problem", "answer", "handlers", "response_of"]

MEDIA_TYPE: Final = "application/problem+json"
STORE_RETRY: Final = 5
"""Seconds that a client is asked to wait for a store that is away: nothing measures when it will be back."""
_LONGEST: Final = 86_400

Handler = Callable[[Request, Exception], Awaitable[JSONResponse]]


class Problem(BaseModel):
    """An answer by RFC 9457. Some carry more: `queue`, `bound` and `retry_after`, or `job`, the id it is about."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Which of Outlast's errors it is, such as 'queue-full'; it does not change.")


def answer(status: int, code: str, detail: str, *, retry_after: float | None = None, **more: Any) -> JSONResponse:
    """Return the answer; `retry_after` seconds are rounded up to a whole number, 1 at least."""
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        whole = min(_LONGEST, max(1, math.ceil(retry_after))) if math.isfinite(retry_after) else _LONGEST
        headers["Retry-After"] = str(whole)
        more["retry_after"] = whole
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, code=code, **more)
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def response_of(description: str, *, retry_after: bool = False) -> dict[str, Any]:
    """Return how OpenAPI describes such an answer."""
    response: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
    if retry_after:
        response["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return response


def handlers(full_status: int) -> dict[type[Exception], Handler]:
    """Return the handler of each error. What they tell a client names no file, no value of a setting or an argument."""

    def to(make: Callable[[Any], JSONResponse]) -> Handler:
        async def handle(request: Request, error: Exception) -> JSONResponse:
            return make(error)

        return handle

    def full(error: QueueFull) -> JSONResponse:
        of_key = error.bound.startswith("per_key.")
        return answer(
            HTTPStatus.TOO_MANY_REQUESTS if of_key else full_status,  # others are let in: it is this client's own share
            "queue-full",
            f"queue {error.queue!r} is full{' for you' if of_key else ''} ({error.bound}): try again later",
            retry_after=error.retry_after,
            queue=error.queue,
            bound=error.bound,
        )

    def unknown(error: EnqueueUnknown) -> JSONResponse:
        return answer(
            503,
            "enqueue-unknown",
            "the job may or may not have been accepted: ask for its state by this id before sending it again",
            job=error.id,
        )

    def conflict(error: UniqueConflict) -> JSONResponse:
        return answer(409, "unique-conflict", "another unfinished job stands for the same work", job=error.existing)

    def large(error: BodyTooLarge) -> JSONResponse:
        return answer(413, "body-too-large", f"the job would have {error.size} bytes; at most {error.limit} are taken")

    def away(error: StoreUnavailable) -> JSONResponse:
        return answer(503, "store-unavailable", "the job store cannot be reached now", retry_after=STORE_RETRY)

    def disk(error: StoreFull) -> JSONResponse:
        return answer(503, "store-full", "the job store has no space now", retry_after=STORE_RETRY)

    def invalid(error: InvalidArguments) -> JSONResponse:
        return answer(422, "invalid-arguments", str(error))

    def missing(error: JobNotFound) -> JSONResponse:
        return answer(404, "job-not-found", "no such job: it never was here, or is not kept any more")

    return {
        QueueFull: to(full),
        EnqueueUnknown: to(unknown),
        UniqueConflict: to(conflict),
        BodyTooLarge: to(large),
        StoreUnavailable: to(away),
        StoreFull: to(disk),
        InvalidArguments: to(invalid),
        JobNotFound: to(missing),
    }
