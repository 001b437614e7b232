"""An app with sessions whose store is away: what each request must be answered, and when it is whole again."""

from __future__ import annotations

import time
from secrets import token_hex
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware as StarletteMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from outlast.fastapi import SessionMiddleware, current_session
from outlast.toolkit.sessions.sessions import Sessions
from tests.support.asgi import Exchange, Reply
from tests.support.polling import until

__all__ = ["app_of", "ask_with", "back", "judge_away"]


def app_of(sessions: Sessions) -> Starlette:
    """An app without FastAPI's error handlers."""

    async def read(request: Request) -> JSONResponse:
        session = await current_session(request)
        return JSONResponse(
            {"user": session.user, "away": session.is_away, "a": session.get("a"), "f": await session.take_flashes()}
        )

    async def write(request: Request) -> JSONResponse:
        session = await current_session(request)
        session["a"], session["written"] = 2, token_hex(8)  # another value each time, so that it is stored
        return JSONResponse({})

    async def logout(request: Request) -> JSONResponse:
        (await current_session(request)).end()
        return JSONResponse({})

    async def login(request: Request) -> JSONResponse:
        (await current_session(request)).login("ann")
        return JSONResponse({})

    routes = [
        Route("/read", read),
        Route("/write", write, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/login", login, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[StarletteMiddleware(SessionMiddleware, sessions=sessions)])


async def ask_with(app: Any, method: str, path: str, id: str | None = None) -> Reply:
    headers = [] if id is None else [("Cookie", f"__Host-session={id}")]
    reply = await Exchange(method, path, headers).serve(app)
    assert reply is not None
    return reply


async def judge_away(app: Starlette, id: str) -> float:
    """Ask for all that there is while the store is away; return the seconds that the slowest took."""
    slowest = 0.0
    for method, path, cookie in (
        ("GET", "/read", id),
        ("POST", "/write", id),
        ("POST", "/write", None),
        ("POST", "/logout", id),
        ("POST", "/login", id),
        ("GET", "/read", None),
    ):
        began = time.monotonic()
        reply = await ask_with(app, method, path, cookie)
        slowest = max(slowest, time.monotonic() - began)
        assert "set-cookie" not in reply.headers
        if method == "GET":
            away = b"true" if cookie else b"false"
            assert (reply.status, reply.body) == (200, b'{"user":null,"away":%s,"a":null,"f":[]}' % away)
        else:
            assert (reply.status, b"toolkit-unavailable" in reply.body) == (503, True)
            assert int(reply.headers["retry-after"]) >= 1
    return slowest


async def back(app: Starlette, id: str) -> float:
    """Wait until the session is read and written again; return how long that took."""
    began = time.monotonic()

    async def whole() -> bool:
        read, written = await ask_with(app, "GET", "/read", id), await ask_with(app, "POST", "/write", id)
        return b'"user":"ann"' in read.body and written.status == 200

    await until(whole, "the session is read and written again")
    return time.monotonic() - began
