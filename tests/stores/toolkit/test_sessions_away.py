"""Sessions whose store is away: reads are anonymous, writes are answered 503, and no cookie is removed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from outlast import Outlast, Session, Settings
from outlast.aio.clock import SystemClock
from outlast.core.toolkit_errors import ToolkitAway
from outlast.fastapi import SessionMiddleware, current_session, install
from outlast.toolkit.access import Toolkit
from outlast.toolkit.sessions import sessions as all_sessions
from outlast.toolkit.sessions.forms import sessions_of
from outlast.toolkit.sessions.sessions import Sessions
from outlast.toolkit.sessions.store import SessionStore
from outlast.toolkit.store import ToolkitStore
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer
from tests.support.sessions_away import app_of, ask_with, back, judge_away
from tests.support.sqlite_file import locked
from tests.support.toolkit_sessions import begun_session, sessions_on

TIMEOUT = 1.0


@pytest.fixture
async def sessions(server: RedisServer) -> AsyncIterator[Sessions]:
    kit = Toolkit(server.url, clock=SystemClock(), timeout=TIMEOUT)
    yield sessions_on(kit)
    await kit.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that were made to the store."""
    calls: list[str] = []

    def counted(store: ToolkitStore) -> SessionStore:
        calls.append(store.shown)
        return sessions_of(store)

    monkeypatch.setattr(all_sessions, "sessions_of", counted)
    return calls


async def test_a_server_that_hangs_costs_one_deadline_and_the_session_is_there_when_it_goes_on(
    server: RedisServer, sessions: Sessions, calls: list[str]
) -> None:
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    counted = len(calls)
    try:
        await judge_away(app, id_)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert 1 <= len(calls) - counted <= 3, "a probe may follow, no call of each request waits"
    await back(app, id_)
    assert b'"a":2' in (await ask_with(app, "GET", "/read", id_)).body


async def test_a_server_that_is_gone_and_back_empty_takes_new_logins(server: RedisServer, sessions: Sessions) -> None:
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    server.stop()
    await judge_away(app, id_)
    server.start()

    async def logged_in() -> bool:
        return (await ask_with(app, "POST", "/login", id_)).status == 200

    await until(logged_in, "a user can log in again")
    assert (await ask_with(app, "GET", "/read", id_)).status == 200


async def test_a_process_that_is_stopped_within_a_write_makes_the_file_be_away(tmp_path: Path) -> None:
    path = tmp_path / "toolkit.db"
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=TIMEOUT)
    sessions = sessions_on(kit)
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    with locked(path):
        assert b'"user":"ann"' in (await ask_with(app, "GET", "/read", id_)).body, "a read needs no lock"
        assert (await ask_with(app, "POST", "/write", id_)).status == 503
        await judge_away(app, id_)
    await back(app, id_)
    await kit.close()


async def test_what_is_changed_while_a_save_fails_is_told_by_the_next_save(
    server: RedisServer, sessions: Sessions
) -> None:
    session = await sessions.open(await begun_session(sessions, "ann", a=1))
    server.stop()
    session["a"] = 2

    async def change() -> None:
        session["b"] = 3

    saved, _ = await asyncio.gather(session.save(), change(), return_exceptions=True)
    assert isinstance(saved, ToolkitAway)
    with pytest.raises(ToolkitAway):
        await session.save()


async def test_a_route_that_needs_a_login_tells_that_the_store_is_away(server: RedisServer, sessions: Sessions) -> None:
    """Not that the user must log in, also without FastAPI's error handlers."""

    async def private(request: Request) -> PlainTextResponse:
        session = await current_session(request)
        if session.user is None:
            raise session.failure or HTTPException(401)
        return PlainTextResponse(session.user)

    id_ = await begun_session(sessions, "ann")
    app = Starlette(routes=[Route("/", private)], middleware=[Middleware(SessionMiddleware, sessions=sessions)])
    assert (await ask_with(app, "GET", "/", id_)).body == b"ann"
    assert (await ask_with(app, "GET", "/")).status == 401
    server.stop()
    away = await ask_with(app, "GET", "/", id_)
    assert (away.status, b"toolkit-unavailable" in away.body) == (503, True)
    assert (await ask_with(app, "GET", "/")).status == 401, "it has no session"


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

    made = await ask_with(app, "POST", "/write")
    id_ = made.headers["set-cookie"].partition(";")[0].partition("=")[2]
    server.stop()
    replies = await asyncio.gather(*(ask_with(app, "POST", "/write", cookie) for cookie in (id_, None)))
    assert [reply.status for reply in replies] == [503, 503]
    assert all(b"toolkit-unavailable" in reply.body for reply in replies)
    await shop.close()
