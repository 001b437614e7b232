"""Our toolkit, as its documentation uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.asgi_calls import cookies, request
from benchmarks.toolkit_calls import CLIENTS, Call, Cases, Place, kept_key, product_of
from outlast import Outlast, Settings
from outlast.fastapi import RateLimitMiddleware, SessionMiddleware, current_session

__all__ = ["cases"]


@asynccontextmanager
async def cases(place: Place) -> AsyncIterator[Cases]:
    """Yield the calls of each piece. The app of Redis has all; those of a file and of the memory have a cache."""
    shop = _app(place.url)

    @shop.cache.cached(ttl="5m", key="slow:{number}")
    async def slow(number: int) -> dict[str, object]:
        return await place.slow_product(number)

    @shop.cache.cached(ttl="5m", key="near:{number}", near="1m")
    async def near(number: int) -> dict[str, object]:
        return product_of(number)

    hit, miss = _reads(shop)
    memory_hit, _ = _reads(_app("memory:"))
    file_hit, file_miss = _reads(_app(f"sqlite:{place.folder}/toolkit.db"))
    gcra = shop.limiter("1000000/minute", name="gcra")
    sliding = shop.limiter("1000000/minute", name="sliding", algorithm="sliding")
    limited = RateLimitMiddleware(_site(), shop.limiter("1000000/minute", name="site"))

    async def lock(number: int) -> None:
        async with shop.lock(f"stock:{number % 1000}"):
            pass

    sessions = SessionMiddleware(_session_site(), shop.sessions())
    clients = await cookies(sessions, "/write", CLIENTS)
    await near(7)
    await asyncio.sleep(0.2)  # the connection that tells of changes stands a moment after the first use
    yield {
        "hit": hit,
        "miss": miss,
        "guarded miss": miss,
        "near hit": lambda _: near(7),
        "memory hit": memory_hit,
        "file hit": file_hit,
        "file miss": file_miss,
        "stampede": slow,
        "decision": lambda number: gcra.take(f"user:{number % 1000}"),
        "sliding decision": lambda number: sliding.take(f"user:{number % 1000}"),
        "bare request": request(_site()),
        "limited request": request(limited),
        "lock": lock,
        "session read": request(sessions, "/read", cookies=clients),
        "session write": request(sessions, "/write", cookies=clients),
    }


def _reads(shop: Outlast) -> tuple[Call, Call]:
    """Return a read of one key that is kept, and of keys that are not."""

    @shop.cache.cached(ttl="5m", key="product:{number}")
    async def product(number: int) -> dict[str, object]:
        return product_of(number)

    return lambda number: product(kept_key(number)), product


def _app(url: str) -> Outlast:
    return Outlast("bench", settings=Settings(url="memory:", toolkit_url=url))


def _site() -> Starlette:
    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/", answer)])


def _session_site() -> Starlette:
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str((await current_session(request)).get("count")))

    async def write(request: Request) -> PlainTextResponse:
        session = await current_session(request)
        session["count"] = session.get("count", 0) + 1
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/read", read), Route("/write", write)])
