"""The limiter of slowapi, around a route of Starlette; it waits for Redis on the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.asgi_calls import request
from benchmarks.toolkit_calls import Cases, Place

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield requests of the same route, without a limit and with one."""

    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    bare, limited = (Starlette(routes=[Route("/", answer)]) for _ in range(2))
    limited.state.limiter = Limiter(
        key_func=get_remote_address,
        default_limits=["1000000/minute"],
        storage_uri=place.url,
        headers_enabled=True,
    )
    limited.add_middleware(SlowAPIASGIMiddleware)
    yield {"bare request": request(bare), "limited request": request(limited)}
