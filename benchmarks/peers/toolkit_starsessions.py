"""The sessions of starsessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import SessionMiddleware, load_session
from starsessions.stores.redis import RedisStore

from benchmarks.asgi_calls import cookies, request
from benchmarks.toolkit_calls import CLIENTS, Cases, Place

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield requests of a route without a session, and of those that read and write one."""

    async def plain(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def read(request: Request) -> PlainTextResponse:
        await load_session(request)
        return PlainTextResponse(str(request.session.get("count")))

    async def write(request: Request) -> PlainTextResponse:
        await load_session(request)
        request.session["count"] = request.session.get("count", 0) + 1
        return PlainTextResponse("ok")

    redis = Redis.from_url(place.url)
    site = SessionMiddleware(
        Starlette(routes=[Route("/read", read), Route("/write", write)]),
        store=RedisStore(connection=redis),
        lifetime=43_200,
        rolling=True,
    )
    clients = await cookies(site, "/write", CLIENTS)
    yield {
        "bare request": request(Starlette(routes=[Route("/", plain)])),
        "session read": request(site, "/read", cookies=clients),
        "session write": request(site, "/write", cookies=clients),
    }
    await redis.aclose()
