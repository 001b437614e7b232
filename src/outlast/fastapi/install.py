"""`install(app, shop)`: connect an Outlast app to a FastAPI app."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request, Response

from outlast.core.errors import ConfigurationError, StoreFull, StoreUnavailable
from outlast.core.shedding import Shed
from outlast.core.text import shown
from outlast.fastapi import routes
from outlast.fastapi.deadline import RequestDeadline, checked_header
from outlast.fastapi.health_routes import ApiLife
from outlast.fastapi.idempotency.middleware import IdempotencyMiddleware
from outlast.fastapi.idempotency.options import Idempotency
from outlast.fastapi.idempotency.required import IdempotencyKeyMissing, missing
from outlast.fastapi.metrics_page import Metrics, page_of
from outlast.fastapi.problems import handlers
from outlast.fastapi.shedder import LoadShedder

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["install", "installed"]

_log = logging.getLogger("outlast.fastapi")
_KEY = "_outlast_installed"


def install(
    app: FastAPI,
    shop: Outlast,
    *,
    authorize: Callable[..., Any] | None = None,
    prefix: str = "/outlast",
    full_status: Literal[503, 429] = 503,
    deadline_header: str | None = None,
    shed: Shed | None = None,
    idempotency: Idempotency | None = None,
    metrics: bool | Metrics = False,
) -> None:
    """Open and close the shop's store with the app's lifespan, answer its errors by RFC 9457, and add routes.

    `GET {prefix}/jobs/{id}` returns a job's state and times; kind, arguments (redacted), result, error and progress
    only when `authorize`, a FastAPI dependency, returns a true value; if it raises, the request is refused.
    `GET {prefix}/livez`, `/readyz`, `/startupz` and `/health` are for probes; `/autoscale` is for autoscalers that
    `authorize` allows. full_status: the status for a full queue, always with Retry-After. deadline_header: a header
    with the seconds that the client still waits, at most 3600: the deadline of all guarded calls of the request
    (`outlast.remaining()`), and of jobs with `inherit_deadline`; None: clients set none. shed: when the app refuses
    requests with 503 because it has more than it can serve in time; None: never. idempotency: how requests with the
    header Idempotency-Key are answered (see `Idempotency`); None: it is ignored.
    metrics: True adds `GET /metrics` for Prometheus on this machine, and measures requests; `Metrics(...)`: on another
    path, or for others; False: neither.
    The app's own handlers for these errors are kept. If the store cannot be reached at start, the first enqueue tries
    again. Raise ConfigurationError when the shop, the prefix or a load shedder is installed already.
    """
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigurationError(f"install: prefix={prefix!r} must begin with '/' and not end with '/'")
    if full_status not in (503, 429):
        raise ConfigurationError(f"install: full_status={full_status!r} must be 503 or 429")
    header = checked_header(deadline_header)
    _check_shed(app, shed)
    _check_idempotency(app, shop, idempotency)
    page = page_of(app, metrics)
    installed: dict[str, tuple[Outlast, int]] = getattr(app.state, _KEY, {})
    for taken, (other, status) in installed.items():
        if other is shop:
            raise ConfigurationError(f"install: {shop!r} is installed in this app at {taken!r} already: install once")
        if taken == prefix:
            raise ConfigurationError(f"install: {other!r} has prefix={prefix!r} already: give {shop!r} another prefix")
        if status != full_status:
            raise ConfigurationError(
                f"install: {other!r} has full_status={status}; an app has one status for full queues: give the same"
            )
    setattr(app.state, _KEY, {**installed, prefix: (shop, full_status)})
    for error, handler in handlers(full_status).items():
        app.exception_handlers.setdefault(error, handler)
    if idempotency is not None:
        app.exception_handlers.setdefault(IdempotencyKeyMissing, _missing_key)
        app.add_middleware(IdempotencyMiddleware, shop=shop, options=idempotency)
    if header is not None:
        app.add_middleware(RequestDeadline, header=header)
    if shed is not None:
        app.add_middleware(LoadShedder, shed=shed)
    if page is not None:
        page.add(app, shop)
    life = ApiLife()
    _join_lifespan(app, shop, life)
    app.include_router(routes.router(shop, authorize, life, name=shop.name if installed else ""), prefix=prefix)


def installed(app: object) -> tuple[Outlast, ...]:
    """Return the shops installed in an app, in order; () if `app` is not a FastAPI app."""
    found: dict[str, tuple[Outlast, int]] = getattr(getattr(app, "state", None), _KEY, {})
    return tuple(shop for shop, _ in found.values())


def _check_shed(app: FastAPI, shed: object) -> None:
    if shed is not None and not isinstance(shed, Shed):
        raise ConfigurationError(f"install(shed={shown(shed)}): give Shed(max_in_flight=100, max_lag='200ms')")
    if shed is not None and _has(app, LoadShedder):
        raise ConfigurationError(
            "install: the app has a load shedder already, which would count twice: give shed= once"
        )


def _check_idempotency(app: FastAPI, shop: Outlast, idempotency: object) -> None:
    if idempotency is not None and not isinstance(idempotency, Idempotency):
        raise ConfigurationError(f"install(idempotency={shown(idempotency)}): give Idempotency(ttl='24h')")
    if idempotency is not None and _has(app, IdempotencyMiddleware):
        raise ConfigurationError(
            "install: the app looks at Idempotency-Key already, and a second look would find the key in use: give "
            "idempotency= once"
        )
    if idempotency is not None:
        shop._piece()  # the middleware, which asks too, is made when the app starts


def _has(app: FastAPI, middleware: object) -> bool:
    return any(each.cls is middleware for each in app.user_middleware)


async def _missing_key(request: Request, error: Exception) -> Response:
    return missing(error)


def _join_lifespan(app: FastAPI, shop: Outlast, life: ApiLife) -> None:
    """Open before the app's start-up and close after its shutdown: both may enqueue."""
    inner: Any = app.router.lifespan_context  # Any: Starlette has separate types for lifespans with and without state

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        try:
            await shop.runtime()
        except (StoreUnavailable, StoreFull) as error:
            _log.warning("cannot open the store of %r at start (%s): the first enqueue tries again", shop, error)
        try:
            async with inner(served) as state:
                life.draining = False  # a test may enter the lifespan of an app again
                try:
                    yield state
                finally:
                    life.draining = True
        finally:
            await shop.close()

    router: Any = app.router
    router.lifespan_context = lifespan
