"""`install(app, shop)`: connect an Outlast app to a FastAPI app."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI

from outlast.core.errors import ConfigurationError, StoreFull, StoreUnavailable
from outlast.fastapi import routes
from outlast.fastapi.deadline import RequestDeadline, checked_header
from outlast.fastapi.problems import handlers

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
) -> None:
    """Open and close the shop's store with the app's lifespan, answer its errors by RFC 9457, and add two routes.

    `GET {prefix}/jobs/{id}` returns a job's state and times; kind, arguments (redacted), result, error and progress
    only when `authorize`, a FastAPI dependency, returns a true value; if it raises, the request is refused.
    `GET {prefix}/health` reports live and ready separately. full_status: the status for a full queue, always with
    Retry-After. deadline_header: a header with the seconds that the client still waits, at most 3600: the deadline of
    all guarded calls of the request (`outlast.remaining()`), and of jobs with `inherit_deadline`; None: clients set
    none. The app's own handlers for these errors are kept. If the store cannot be reached at start, the first
    enqueue tries again. Raise ConfigurationError when the shop or the prefix is installed already.
    """
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigurationError(f"install: prefix={prefix!r} must begin with '/' and not end with '/'")
    if full_status not in (503, 429):
        raise ConfigurationError(f"install: full_status={full_status!r} must be 503 or 429")
    header = checked_header(deadline_header)
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
    if header is not None:
        app.add_middleware(RequestDeadline, header=header)
    _join_lifespan(app, shop)
    app.include_router(routes.router(shop, authorize, name=shop.name if installed else ""), prefix=prefix)


def installed(app: object) -> tuple[Outlast, ...]:
    """Return the shops installed in an app, in order; () if `app` is not a FastAPI app."""
    found: dict[str, tuple[Outlast, int]] = getattr(getattr(app, "state", None), _KEY, {})
    return tuple(shop for shop, _ in found.values())


def _join_lifespan(app: FastAPI, shop: Outlast) -> None:
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
                yield state
        finally:
            await shop.close()

    router: Any = app.router
    router.lifespan_context = lifespan
