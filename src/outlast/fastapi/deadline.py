"""The deadline of a request: seconds in a header of the client, for all guarded calls and jobs of the request."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from outlast.core.errors import ConfigurationError
from outlast.core.text import shown
from outlast.fastapi.problems import answer
from outlast.resilience.deadlines import bounded

__all__ = ["LONGEST_DEADLINE", "RequestDeadline", "checked_header"]

LONGEST_DEADLINE: Final = 3600.0
"""Seconds: a client that asks for more gets this."""

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_SECONDS: Final = re.compile(rb"\d{1,9}(?:\.\d{1,9})?\Z")


def checked_header(name: object) -> str | None:
    """Return the name of a header, None for none; raise ConfigurationError."""
    if name is None:
        return None
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigurationError(
            f"install: deadline_header={shown(name)}: give the name of a header, such as 'X-Deadline-Seconds', or None"
        )
    return name


class RequestDeadline:
    """ASGI middleware that bounds each request to the seconds in the header; it answers 400 to a header it cannot read.

    The header says how long the client waits from now on, so that no clocks are compared.
    """

    def __init__(self, app: ASGIApp, *, header: str) -> None:
        self._app = app
        self._header = header
        self._name = header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        values = [value.strip() for name, value in scope["headers"] if name == self._name]
        if not values:
            await self._app(scope, receive, send)
            return
        seconds = float(values[0]) if len(values) == 1 and _SECONDS.match(values[0]) else 0.0
        if seconds <= 0.0:
            detail = f"the header {self._header} must hold the seconds that are left once, above 0, such as 2.5"
            await answer(400, "invalid-deadline", detail)(scope, receive, send)
            return
        with bounded(min(seconds, LONGEST_DEADLINE)):
            await self._app(scope, receive, send)
