"""ASGI middleware that refuses requests, lower classes first, while the process has more than it can serve in time."""

from __future__ import annotations

import asyncio
import functools
import logging
from math import ceil
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary, ref

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast.aio.lag import LoopLag, lag_of
from outlast.core.calls import unawaited
from outlast.core.errors import ConfigurationError
from outlast.core.shedding import ClassLimit, RequestLoad, Shed, Shedding, health_first, shedding
from outlast.core.text import counted, shown
from outlast.fastapi.problems import answer

__all__ = ["LoadShedder"]

_log = logging.getLogger("outlast.fastapi")
TOLD_EVERY: Final = 60.0
"""Seconds between two log records about refused requests."""
_Loaded = tuple[ref[asyncio.AbstractEventLoop], RequestLoad, LoopLag]
_DETAILS: Final[dict[Shedding, str]] = {
    "in-flight": "too many requests are being served: try again later",
    "lag": "the server is behind with its work: try again later",
}


class LoadShedder:
    """ASGI middleware that answers requests beyond the limits of `Shed` with 503 and Retry-After (RFC 9457).

    It wraps any ASGI app. A request counts until the app's call for it ends: a stream to its end, background tasks
    of Starlette too, and one whose client has gone until the app notices that. The body of a refused request is not
    read. WebSockets and lifespan are passed on and do not count. Each event loop has its own counts.

    Raise ConfigurationError if `shed` is not a `Shed`.
    """

    def __init__(self, app: ASGIApp, shed: Shed) -> None:
        if not isinstance(shed, Shed):
            raise ConfigurationError(f"LoadShedder(shed={shown(shed)}): give Shed(max_in_flight=100, max_lag='200ms')")
        self._app = app
        self._classes = shed.classes or health_first
        self._limits = shed.limits
        self._measures_lag = shed.max_lag is not None
        self._loads: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loaded] = WeakKeyDictionary()
        self._recent: _Loaded | None = None
        self._refused = 0
        self._tell_at = 0.0
        self._told_of_classes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _, load, measured = self._loaded()
        lag = measured.watch() if self._measures_lag else 0.0
        limit = self._limit_of(scope)
        if why := shedding(limit, load.in_flight, lag):
            await self._refuse(why, limit, load, lag, send)
            return
        load.in_flight += 1
        began = monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            load.end(monotonic() - began)

    @property
    def in_flight(self) -> int:
        """The requests that are being served by the running event loop."""
        return self._loaded()[1].in_flight

    def _loaded(self) -> _Loaded:
        """Return what belongs to the running loop."""
        loop = asyncio.get_running_loop()
        found = self._recent
        if found is None or found[0]() is not loop:  # the look into the dict takes longer than all the rest
            found = self._recent = self._loads.setdefault(loop, (ref(loop), RequestLoad(), lag_of(loop)))
        return found

    def _limit_of(self, scope: Scope) -> ClassLimit:
        """Return the limit of a request's class; of "normal" when the app's function fails: no request fails by it."""
        try:
            of = self._classes(scope)
        except Exception as error:
            self._tell_of_classes(error)
            return self._limits["normal"]
        try:
            return self._limits[of]
        except (KeyError, TypeError):  # no class, or nothing that a dict can look up
            unawaited(of)
            self._tell_of_classes(of)
        return self._limits["normal"]

    def _tell_of_classes(self, got: object) -> None:
        if not self._told_of_classes:
            self._told_of_classes = True
            _log.warning(
                "Shed(classes=%s) gave %s: return 'critical', 'normal' or 'background'; such requests count as "
                "'normal' (further ones are not logged)",
                shown(self._classes),
                shown(got),
                exc_info=got if isinstance(got, Exception) else None,
            )

    async def _refuse(self, why: Shedding, limit: ClassLimit, load: RequestLoad, lag: float, send: Send) -> None:
        now = monotonic()
        wait = load.refuse(limit, lag, now)
        self._tell(why, load, lag, now)
        response = _response(why, max(1, ceil(round(wait, 3))))
        # New lists: other middleware adds headers to them.
        await send({"type": "http.response.start", "status": 503, "headers": list(response.raw_headers)})
        await send({"type": "http.response.body", "body": response.body})

    def _tell(self, why: Shedding, load: RequestLoad, lag: float, now: float) -> None:
        self._refused += 1
        if now < self._tell_at:
            return
        self._tell_at = now + TOLD_EVERY
        _log.warning(
            "overloaded (%s): %s refused since the last such line; %d in flight, the event loop is %.0f ms late",
            why,
            counted(self._refused, "request"),
            load.in_flight,
            lag * 1000,
        )
        self._refused = 0


@functools.cache
def _response(why: Shedding, retry_after: int) -> JSONResponse:
    """Return the answer. There are 120 at most: a refusal must cost less than a request."""
    return answer(503, "overloaded", _DETAILS[why], retry_after=retry_after, limit=why)
