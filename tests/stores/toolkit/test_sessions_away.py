"""Sessions whose store is away: reads are anonymous, writes are answered 503, and no cookie is removed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware as StarletteMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from outlast import Outlast, Session, Settings
from outlast.aio.clock import SystemClock
from outlast.core.errors import ToolkitAway
from outlast.fastapi import SessionMiddleware, current_session, install
from outlast.toolkit.access import Toolkit
from outlast.toolkit.sessions.sessions import Sessions
from tests.support.asgi import Exchange, Reply
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer
from tests.support.sqlite_file import locked
from tests.support.toolkit_sessions import begun_session, sessions_on

TIMEOUT = 1.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def sessions(server: RedisServer) -> AsyncIterator[Sessions]:
    kit = Toolkit(server.url, clock=SystemClock(), timeout=TIMEOUT)
    yield sessions_on(kit)
    await kit.close()


def app_of(sessions: Sessions) -> Starlette:
    """An app without FastAPI's error handlers."""

    async def read(request: Request) -> JSONResponse:
        session = await current_session(request)
        return JSONResponse(
            {"user": session.user, "away": session.is_away, "a": session.get("a"), "f": await session.take_flashes()}
        )

    async def write(request: Request) -> JSONResponse:
        session = await current_session(request)
        session["a"] = 2
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


async def ask(app: Any, method: str, path: str, id: str | None = None) -> Reply:
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
        reply = await ask(app, method, path, cookie)
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
        read, written = await ask(app, "GET", "/read", id), await ask(app, "POST", "/write", id)
        return b'"user":"ann"' in read.body and written.status == 200

    await until(whole, "the session is read and written again")
    return time.monotonic() - began


async def test_a_server_that_hangs_costs_one_deadline_and_the_session_is_there_when_it_goes_on(
    server: RedisServer, sessions: Sessions
) -> None:
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        slowest = await judge_away(app, id_)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert slowest < TIMEOUT + 4, "no request waits for more than one deadline"
    assert await back(app, id_) < 5
    assert b'"a":2' in (await ask(app, "GET", "/read", id_)).body


async def test_a_server_that_is_gone_and_back_empty_takes_new_logins(server: RedisServer, sessions: Sessions) -> None:
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    server.stop()
    await judge_away(app, id_)
    server.start()

    async def logged_in() -> bool:
        return (await ask(app, "POST", "/login", id_)).status == 200

    await until(logged_in, "a user can log in again")
    assert (await ask(app, "GET", "/read", id_)).status == 200


async def test_a_process_that_is_stopped_within_a_write_makes_the_file_be_away(tmp_path: Path) -> None:
    path = tmp_path / "toolkit.db"
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=TIMEOUT)
    sessions = sessions_on(kit)
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    with locked(path):
        assert b'"user":"ann"' in (await ask(app, "GET", "/read", id_)).body, "a read needs no lock"
        assert (await ask(app, "POST", "/write", id_)).status == 503
        await judge_away(app, id_)
    assert await back(app, id_) < 5
    await kit.close()


async def test_a_session_that_was_read_raises_when_it_cannot_be_saved(server: RedisServer, sessions: Sessions) -> None:
    id_ = await begun_session(sessions, "ann", a=1)
    session = await sessions.open(id_)
    server.stop()
    session["a"] = 2
    for _ in range(2):
        with pytest.raises(ToolkitAway):
            await session.save() if session.is_changed else session.set("a", 3)
    assert session["a"] == 1
    assert session.is_away
    with pytest.raises(ToolkitAway):
        await session.update("count", lambda count: count + 1, default=0)
    with pytest.raises(ToolkitAway):
        await sessions.revoke_user("ann")
    with pytest.raises(ToolkitAway):
        await sessions.of_user("ann")


async def test_fastapi_answers_the_same(server: RedisServer, tmp_path: Path) -> None:
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=server.url))
    app = FastAPI()
    install(app, shop)
    app.add_middleware(SessionMiddleware, sessions=shop.sessions())

    @app.post("/write")
    def write(session: Annotated[Session, Depends(current_session)]) -> None:
        session["a"] = 1

    made = await ask(app, "POST", "/write")
    id_ = made.headers["set-cookie"].partition(";")[0].partition("=")[2]
    server.stop()
    replies = await asyncio.gather(*(ask(app, "POST", "/write", cookie) for cookie in (id_, None)))
    assert [reply.status for reply in replies] == [503, 503]
    assert all(b"toolkit-unavailable" in reply.body for reply in replies)
    await shop.close()
