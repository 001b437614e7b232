"""The dependency of a route that runs only with an Idempotency-Key."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from starlette.types import Scope

from outlast.core.errors import ConfigurationError, OutlastError
from outlast.fastapi.problems import answer

__all__ = ["IdempotencyKeyMissing", "missing", "require_idempotency_key", "saw_key"]

_SEEN: Final = "outlast.idempotency"


class IdempotencyKeyMissing(OutlastError):
    """The route needs the header Idempotency-Key, and the request has none."""


def saw_key(scope: Scope, key: str) -> None:
    """Tell the route which key the middleware has found, "" for none."""
    scope[_SEEN] = key


async def require_idempotency_key(
    request: Request,
    _: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="A key of the client's for this operation, in double quotes. Repetitions have the same.",
        ),
    ] = None,
) -> str:
    """Return the Idempotency-Key of the request; raise IdempotencyKeyMissing, which is answered with 400.

    `@app.post("/orders", dependencies=[Depends(require_idempotency_key)])`. Raise ConfigurationError where the app has
    no such middleware, or the middleware does not look at the method.
    """
    key = request.scope.get(_SEEN)
    if key is None:
        raise ConfigurationError(
            f"require_idempotency_key on {request.method}: nothing stores the answers: give "
            "install(app, shop, idempotency=Idempotency()), with the method in its methods"
        )
    if not key:
        raise IdempotencyKeyMissing("this request needs the header Idempotency-Key")
    return str(key)


def missing(error: Exception) -> JSONResponse:
    """Return the answer to a request without a key."""
    return answer(
        400,
        "idempotency-key-missing",
        "this request needs the header Idempotency-Key, with a new text in double quotes for each operation: "
        "repetitions of the operation send the same",
    )
