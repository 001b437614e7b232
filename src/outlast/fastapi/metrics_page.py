"""The route of an app's metrics: which clients may read it, and which figures it has."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI, Request, Response
from msgspec import Struct

from outlast.core.calls import unawaited
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.fastapi.problems import answer
from outlast.fastapi.request_times import RequestTimes
from outlast.fastapi.route_templates import RouteTemplates
from outlast.meters import meters
from outlast.meters.process_metrics import show_process_use
from outlast.observe.declared import declared_by
from outlast.observe.exposition import Exposition
from outlast.observe.sampler import Sampler
from outlast.observe.shared_port import several_serve

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.core.store.store import Store

__all__ = ["Metrics", "MetricsPage", "page_of"]

_log = logging.getLogger("outlast.fastapi")
_KEY = "_outlast_metrics"
_LOOK_EVERY: Final = 10.0
"""Seconds between two looks for other processes on the port."""


class Metrics(Struct, frozen=True, kw_only=True):
    """Where an app shows its metrics, and which clients may read them. path: below the app's own root.

    allow: a FastAPI dependency that returns a true value for those who may read them; None: clients on this machine
    alone. The figures name queues, kinds of jobs, guards and routes.
    """

    path: str = "/metrics"
    allow: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or "{" in self.path or self.path == "/":
            raise ConfigurationError(f"Metrics(path={self.path!r}): give a path without parameters, such as '/metrics'")
        if self.allow is not None and not callable(self.allow):
            raise ConfigurationError(f"Metrics(allow={shown(self.allow)}): give a FastAPI dependency")


class MetricsPage:
    """The metrics of one FastAPI app, with the stores of all Outlast apps that are installed in it."""

    def __init__(self, options: Metrics) -> None:
        self.options = options
        self._exposition = Exposition(meters.read)
        show_process_use()
        self._told_refused = False
        self._several = False
        self._looked: float | None = None

    def add(self, app: FastAPI, shop: Outlast) -> None:
        """Show the store of a shop; with the first, add the route, and measure the requests of the app.

        The middleware is outside of all that was added before, so that what those answer is measured too.
        """
        if getattr(app.state, _KEY, None) is None:
            setattr(app.state, _KEY, self)
            self._add_route(app)
            app.add_middleware(RequestTimes, routes=lambda: app.routes)
        self._exposition.add(_sampler(shop))

    def _add_route(self, app: FastAPI) -> None:
        allowed_by = Depends(self.options.allow or _of_this_machine)

        @app.get(self.options.path, include_in_schema=False)
        async def metrics(request: Request, allowed: Any = allowed_by) -> Response:
            return await self.answer(request, allowed)

    async def answer(self, request: Request, allowed: Any) -> Response:
        """Answer a scrape."""
        if unawaited(allowed):  # it would count as true: everybody could read everything
            raise ConfigurationError(
                f"Metrics(allow={self.options.allow!r}) returned a coroutine, which is not awaited: give an 'async def'"
            )
        if not allowed:
            return self._refuse(request)
        alone = not await self._others(request)
        content_type, body = await self._exposition.answer(request.headers.get("accept", ""), processes=alone)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def _refuse(self, request: Request) -> Response:
        if not self._told_refused and self.options.allow is None:
            self._told_refused = True
            _log.warning(
                "refused %s to %s: only clients on this machine may read it; for others give "
                "install(metrics=Metrics(allow=...)) a dependency that lets them (further ones are not logged)",
                self.options.path,
                shown(request.client and request.client.host),
            )
        return answer(403, "metrics-refused", "these metrics are not for this client")

    async def _others(self, request: Request) -> bool:
        """Tell whether other processes serve the port of this request; the log tells it once."""
        now = monotonic()
        if self._looked is None or now >= self._looked + _LOOK_EVERY:
            self._looked = now
            server = request.scope.get("server")
            port = server[1] if server else None  # none on a Unix socket
            before, self._several = self._several, port is not None and await asyncio.to_thread(several_serve, port)
            if self._several and not before:
                _log.warning(
                    "several processes serve port %s: %s has the figures of the stores only, since each scrape reaches "
                    "another process",
                    port,
                    self.options.path,
                )
        return self._several


def page_of(app: FastAPI, metrics: object) -> MetricsPage | None:
    """Return the page that shows the metrics of an app, to `add` shops to; None where none are to be shown.

    Raise ConfigurationError, with nothing changed, for options that cannot be, and without prometheus-client.
    """
    if metrics is False:
        return None
    options = Metrics() if metrics is True else metrics
    if not isinstance(options, Metrics):
        raise ConfigurationError(f"install(metrics={shown(metrics)}): give True, or Metrics(allow=...)")
    page: MetricsPage | None = getattr(app.state, _KEY, None)
    if page is None:
        taken = RouteTemplates(lambda: app.routes).of_path(options.path, "GET")
        if taken is not None:
            raise ConfigurationError(
                f"install(metrics=...): the app has a route {taken!r} for {options.path!r} already: give "
                "Metrics(path=...) another path, or call install before that route is declared"
            )
        return MetricsPage(options)
    if page.options != options:
        raise ConfigurationError(
            f"install(metrics={shown(metrics)}): the app shows metrics by {page.options!r} already: give the same"
        )
    return page


def _of_this_machine(request: Request) -> bool:
    """Tell whether the client is on this machine. One of a Unix socket is not known: a proxy may stand before it."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _sampler(shop: Outlast) -> Sampler:
    async def store() -> Store:
        return (await shop.runtime()).store

    return Sampler(store, lambda: declared_by(shop.registry))
