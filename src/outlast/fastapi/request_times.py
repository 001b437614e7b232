"""ASGI middleware that measures requests by method, template of the route and class of the status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outlast.fastapi.metrics import REQUESTS
from outlast.fastapi.route_templates import RouteTemplates

__all__ = ["UNMATCHED", "RequestTimes"]

UNMATCHED: Final = "unmatched"
"""The route of requests that no route of the app serves, whatever their path and method: their method is OTHER.

Also of those that a folder of files, or another app without known routes, has not found.
"""
OTHER: Final = "other"
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


_MEASURED: Final = "outlast.measured"


class RequestTimes:
    """Measures each HTTP request to the end of its answer. One that raises, or that is not answered, counts as 5xx.

    One that passes several apps, of which one is mounted in another, is measured by the first of them.
    """

    def __init__(self, app: ASGIApp, *, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        self._app = app
        self._templates = RouteTemplates(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or _MEASURED in scope:
            await self._app(scope, receive, send)
            return
        scope[_MEASURED] = True
        path, root_path = scope["path"], scope.get("root_path", "")  # a mount changes them in this scope
        status, began = 500, perf_counter()

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception:
            status = 500  # also where the answer had begun: the client has not got all of it
            raise
        finally:
            seconds = perf_counter() - began
            method, route = self._labels(scope, path, root_path, status)
            REQUESTS.of(method, route, f"{status // 100}xx").observe(seconds)

    def _labels(self, scope: Scope, path: str, root_path: str, status: int) -> tuple[str, str]:
        template = self._templates.of_served(scope, path, root_path, status)
        if template is None:
            return OTHER, UNMATCHED
        method = scope["method"]
        return method if method in _METHODS else OTHER, template
