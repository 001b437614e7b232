"""The sessions of requests: the cookie, what is stored before the answer begins, and what a client can send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast import ConfigurationError, Outlast, Session, SessionConflict, Sessions
from outlast.fastapi import SessionMiddleware, current_session, install
from outlast.toolkit.sessions import memory as memory_sessions
from outlast.toolkit.sessions.ids import digest_of_id
from tests.support.asgi import Exchange, Reply

Current = Annotated[Session, Depends(current_session)]
NAME = "__Host-session"


@pytest.fixture
def shop() -> Outlast:
    return Outlast("shop")


@pytest.fixture
def sessions(shop: Outlast) -> Sessions:
    return shop.sessions(idle="10m", absolute="1h", max_bytes=1000)


@pytest.fixture(autouse=True)
def in_memory(shop: Outlast) -> Iterator[None]:
    with shop.testing():
        yield


@pytest.fixture
def app(shop: Outlast, sessions: Sessions) -> FastAPI:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, sessions=sessions)

    @app.get("/read")
    async def read(session: Current) -> dict[str, Any]:
        return {"user": session.user, "fields": {name: session[name] for name in session}}

    @app.get("/untouched")
    async def untouched() -> str:
        return "no session"

    @app.post("/set")
    async def set_fields(session: Current, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            session[name] = value

    @app.post("/plain")
    def plain(session: Current) -> int:
        session["plain"] = True
        count: int = session.update_sync("count", lambda count: count + 1, default=0)
        return count

    @app.post("/login/{user}")
    async def login(user: str, session: Current) -> None:
        session.login(user)

    @app.post("/logout")
    async def logout(session: Current) -> None:
        session.end()

    @app.post("/fails/{status}")
    async def fails(status: int, session: Current) -> JSONResponse:
        session["failed"] = status
        if status == 0:
            raise RuntimeError("a bug")
        return JSONResponse({}, status)

    return app


def served(app: FastAPI, **options: Any) -> TestClient:
    return TestClient(app, base_url="https://testserver", **options)


async def ask(app: ASGIApp, method: str, path: str, *cookies: str, body: bytes = b"") -> Reply:
    headers = [("Cookie", cookie) for cookie in cookies]
    if body:
        headers.append(("Content-Type", "application/json"))
    reply = await Exchange(method, path, headers, (body,)).serve(app)
    assert reply is not None
    return reply


async def begun(app: ASGIApp, body: bytes = b'{"a": 1}') -> str:
    """Make a session; return its cookie as a browser sends it."""
    reply = await ask(app, "POST", "/set", body=body)
    return reply.headers["set-cookie"].partition(";")[0]


def test_a_cookie_is_set_with_the_first_write_and_no_answer_after_it(app: FastAPI) -> None:
    with served(app) as client:
        first = client.get("/read")
        assert ("set-cookie" in first.headers, first.headers["vary"]) == (False, "Cookie")
        made = client.post("/set", json={"a": 1})
        cookie, *attributes = made.headers["set-cookie"].split("; ")
        assert cookie.startswith(f"{NAME}=")
        assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
        assert (made.headers["cache-control"], made.headers["vary"]) == ("no-store", "Cookie")
        for answer in (client.get("/read"), client.post("/set", json={"a": 2}), client.post("/set", json={"a": 2})):
            assert "set-cookie" not in answer.headers
        assert client.get("/read").json() == {"user": None, "fields": {"a": 2}}
        untouched = client.get("/untouched")
        assert "vary" not in untouched.headers


def test_a_login_replaces_the_id_and_a_logout_removes_the_cookie(app: FastAPI, sessions: Sessions) -> None:
    with served(app) as client:
        client.post("/set", json={"basket": [1]})
        old = client.cookies[NAME]
        client.post("/login/ann")
        assert client.cookies[NAME] != old
        assert client.get("/read").json() == {"user": "ann", "fields": {"basket": [1]}}
        with served(app, cookies={NAME: old}) as thief:
            assert thief.get("/read").json() == {"user": None, "fields": {}}
            late = thief.post("/set", json={"a": 1})
            assert (late.status_code, late.json()["code"]) == (409, "session-ended")
            assert "set-cookie" not in late.headers, "a browser must not lose the new cookie by a late answer"
        out = client.post("/logout")
        assert out.headers["set-cookie"] == f"{NAME}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"
        assert NAME not in client.cookies
        assert client.get("/read").json() == {"user": None, "fields": {}}


def test_a_plain_function_has_its_session(app: FastAPI) -> None:
    with served(app) as client:
        assert [client.post("/plain").json() for _ in range(3)] == [1, 2, 3]
        assert client.get("/read").json()["fields"] == {"plain": True, "count": 3}


@pytest.mark.parametrize("status", [200, 302, 400, 404])
def test_an_answer_below_500_stores_its_session(app: FastAPI, status: int) -> None:
    with served(app) as client:
        client.post(f"/fails/{status}", follow_redirects=False)
        assert client.get("/read").json()["fields"] == {"failed": status}


@pytest.mark.parametrize("status", [0, 500, 503])
def test_an_answer_of_an_error_stores_nothing(app: FastAPI, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with served(app, raise_server_exceptions=False) as client:
        answer = client.post(f"/fails/{status}")
        assert (answer.status_code, "set-cookie" in answer.headers) == (status or 500, False)
        assert client.get("/read").json()["fields"] == {}
    assert "not saved" not in caplog.text


@pytest.mark.parametrize("given", [True, False])
async def test_a_session_that_was_not_stored_is_answered_in_place_of_the_app(
    app: FastAPI, shop: Outlast, given: bool
) -> None:
    """With and without `install`, raised in the route and at the beginning of the answer."""
    if given:
        install(app, shop)
    ready, go, raised = asyncio.Event(), asyncio.Event(), list[str]()

    @app.post("/slow")
    async def slow(session: Current, explicit: bool = False) -> PlainTextResponse:
        session["a"] = session["a"] + 1
        ready.set()
        await go.wait()
        if explicit:
            try:
                await session.save()
            except SessionConflict as error:
                raised.append(str(error))
                raise
        return PlainTextResponse("saved", background=BackgroundTask(raised.append, "background"))

    for explicit in (False, True):
        cookie = await begun(app)
        ready.clear()
        go.clear()
        exchange = Exchange("POST", "/slow", [("Cookie", cookie)], query=f"explicit={str(explicit).lower()}")
        running = asyncio.create_task(exchange.serve(app))
        await ready.wait()
        await ask(app, "POST", "/set", cookie, body=b'{"a": 5}')
        go.set()
        reply = await running
        assert reply is not None
        assert (reply.status, b"session-conflict" in reply.body) == (409, True)
        assert reply.headers["content-type"] == "application/problem+json"
        assert len([each for each in exchange.sent if each["type"] == "http.response.start"]) == 1
    assert len(raised) == 1
    assert "background" not in raised


async def test_a_stream_begins_after_the_commit_and_what_it_changes_later_is_saved_by_itself(
    app: FastAPI, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    stored: list[bool] = []
    errors: list[str] = []

    @app.post("/stream")
    async def stream(session: Current) -> StreamingResponse:
        session["a"] = 1

        async def parts() -> Any:
            stored.append((await sessions.open(session.issued)).get("a") == 1)
            yield "one"
            await session.update("parts", lambda count: count + 1, default=0)
            yield "two"
            session.rotate()
            try:
                await session.save()
            except ConfigurationError as error:
                errors.append(str(error))
            session["lost"] = 1

        return StreamingResponse(parts())

    reply = await ask(app, "POST", "/stream")
    assert (reply.status, reply.body, stored) == (200, b"onetwo", [True])
    assert "the answer has begun" in errors[0]
    cookie = reply.headers["set-cookie"].partition(";")[0]
    found = await ask(app, "GET", "/read", cookie)
    assert b'"fields":{"a":1,"parts":1}' in found.body
    assert "/stream: the session was changed after the answer has begun, and not saved" in caplog.text


async def test_nothing_follows_the_answer_that_took_the_place_of_the_apps(sessions: Sessions) -> None:
    """Also of an app that goes on after the error of its `send`, as one that looks for clients that have gone."""

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        session = await current_session(HTTPConnection(scope))
        session["a"] = 2
        await sessions.revoke(session.handle)
        for part in ({"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": b"done"}):
            with suppress(OSError):
                await send(part)

    session = await sessions.open(None)
    session["a"] = 1
    await session.save()
    exchange = Exchange("POST", "/", [("Cookie", f"{NAME}={session.issued}")])
    await exchange.serve(SessionMiddleware(stubborn, sessions))
    assert [each["type"] for each in exchange.sent] == ["http.response.start", "http.response.body"]
    assert exchange.sent[0]["status"] == 409


async def test_a_path_cannot_forge_a_line_of_the_log(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    @app.get("/later/{rest}")
    async def later(session: Current) -> StreamingResponse:
        async def parts() -> Any:
            yield "part"
            session["a"] = 1

        return StreamingResponse(parts())

    await ask(app, "GET", "/later/\nERROR all is lost")
    [record] = [each for each in caplog.records if "not saved" in each.message]
    assert "\n" not in record.message
    assert "/later/\\nERROR all is lost" in record.message


def test_a_full_memory_is_told_when_the_app_saves_by_itself(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.post("/at-once")
    async def at_once(session: Current) -> None:
        await session.update("count", lambda count: count + 1, default=0)

    monkeypatch.setattr(memory_sessions, "MOST_BYTES", 0)
    with served(app) as client:
        for path in ("/set", "/at-once"):
            answer = client.post(path, json={"a": 1})
            assert (answer.status_code, answer.json()["code"]) == (503, "session-not-stored"), path
            assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("raises", [False, True])
async def test_a_stream_that_cannot_be_stored_ends(
    shop: Outlast, sessions: Sessions, raises: bool, wrapped: bool
) -> None:
    """A stream that never ends must not go on when its client has got another answer.

    raises: whether the server speaks ASGI 2.4. wrapped: whether a middleware of Starlette's own kind is inside.
    """
    app = FastAPI()
    if wrapped:
        app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    app.add_middleware(SessionMiddleware, sessions=sessions)
    install(app, shop)

    @app.post("/endless")
    async def endless(session: Current) -> StreamingResponse:
        session["a"] = 2
        await sessions.revoke(session.handle)

        async def parts() -> Any:
            while True:
                yield "part"
                await asyncio.sleep(0)

        return StreamingResponse(parts())

    session = await sessions.open(None)
    session["a"] = 1
    await session.save()
    exchange = Exchange("POST", "/endless", [("Cookie", f"{NAME}={session.issued}")], raises=raises)
    reply = await asyncio.wait_for(exchange.serve(app), 30)
    assert reply is not None
    assert (reply.status, b"session-ended" in reply.body) == (409, True)
    assert [each["type"] for each in exchange.sent] == ["http.response.start", "http.response.body"]


def test_two_kinds_of_users_have_sessions_of_their_own(app: FastAPI, shop: Outlast) -> None:
    admin = FastAPI()
    admin.add_middleware(SessionMiddleware, sessions=shop.sessions(name="admin"))

    @admin.post("/login")
    async def login(session: Current) -> None:
        session.login("ann")

    @admin.get("/me")
    async def me(session: Current) -> str | None:
        return session.user

    app.mount("/admin", admin)
    with served(app) as client:
        client.post("/login/ann")
        customer = client.cookies[NAME]
        assert client.get("/admin/me").json() is None
        assert client.get("/admin/me", headers={"Cookie": f"__Host-admin={customer}"}).json() is None
        assert client.post("/admin/login").headers["set-cookie"].startswith("__Host-admin=")
        assert client.get("/admin/me").json() == "ann"
        assert client.cookies[NAME] == customer


async def test_what_a_client_sends_is_anonymous_and_asks_no_store(
    app: FastAPI, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await begun(app)
    id_ = cookie.partition("=")[2]
    calls: list[str] = []
    whole = Sessions.use

    async def use(self: Sessions, operation: str, call: Any) -> Any:
        calls.append("call")
        return await whole(self, operation, call)

    monkeypatch.setattr(Sessions, "use", use)
    forged = [
        (f"{NAME}=" + "x" * 65536,),
        (f"{NAME}={'é' * 43}",),
        (f'{NAME}="{id_}"',),
        (f"{NAME}=", f"a={id_}"),
        (f"{NAME}={digest_of_id('session', id_)}",),
        (f"{NAME}={id_}; {NAME}={'B' * 43}",),
        (f"{NAME}={id_}", f"{NAME}={id_}"),
        (f"x{NAME}={id_}; session={id_}; ;=;;{NAME}",),
        (f"{NAME.lower()}={id_}",),
        ("\x00\xff;" * 1000,),
    ]
    for cookies in forged:
        reply = await ask(app, "GET", "/read", *cookies)
        assert (reply.status, reply.body) == (200, b'{"user":null,"fields":{}}')
        assert "set-cookie" not in reply.headers
    assert calls == []
    reply = await ask(app, "GET", "/read", f"other=1; {NAME}={id_};last=é")
    assert b'"a":1' in reply.body
    assert len(calls) == 1
    planted = await ask(app, "POST", "/set", f"{NAME}={'C' * 43}", body=b'{"a": 2}')
    assert "C" * 43 not in planted.headers["set-cookie"], "no id that a client has chosen is used"


def test_a_value_that_cannot_be_kept_is_told(app: FastAPI, shop: Outlast) -> None:
    install(app, shop)
    with served(app) as client:
        assert client.post("/set", json={"a": "x" * 2000}).status_code == 422
        full = client.post("/set", json={"a": "x" * 600, "b": "x" * 600})
        assert (full.status_code, full.json()["code"]) == (422, "session-full")
        assert client.get("/read").json()["fields"] == {}


def test_a_value_that_is_changed_in_place_to_what_cannot_be_kept_is_told(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    @app.post("/spoil")
    async def spoil(session: Current, late: bool = False) -> StreamingResponse:
        fields = session["a"]

        async def parts() -> Any:
            yield "part"
            fields.append({1, 2})

        if not late:
            fields.append({1, 2})
        return StreamingResponse(parts())

    with served(app) as client:
        client.post("/set", json={"a": []})
        spoilt = client.post("/spoil")
        assert (spoilt.status_code, spoilt.json()["code"]) == (422, "invalid-arguments")
        assert client.post("/spoil?late=true").text == "part"
        assert "/spoil: the session was changed after the answer has begun" in caplog.text
        assert client.get("/read").json()["fields"] == {"a": []}


def test_a_websocket_reads_its_session(app: FastAPI) -> None:
    @app.websocket("/ws")
    async def ws(websocket: WebSocket, session: Current) -> None:
        await websocket.accept()
        await websocket.send_json(session.get("a"))
        await session.update("a", lambda a: a + 1, default=0)
        await websocket.send_json(session["a"])
        await websocket.close()

    with served(app) as client:
        client.post("/set", json={"a": 1})
        with client.websocket_connect(
            "wss://testserver/ws", headers={"cookie": f"{NAME}={client.cookies[NAME]}"}
        ) as ws_:
            assert [ws_.receive_json(), ws_.receive_json()] == [1, 2]
        assert client.get("/read").json()["fields"] == {"a": 2}
        client.cookies.clear()
        with (
            pytest.raises(ConfigurationError, match="WebSocket"),
            client.websocket_connect("wss://testserver/ws") as anonymous,
        ):
            assert anonymous.receive_json() is None
            anonymous.receive_json()


def test_cookies_are_set_as_they_are_configured(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    def cookie(**options: Any) -> str:
        app = FastAPI()
        app.add_middleware(SessionMiddleware, sessions=sessions, **options)

        @app.get("/")
        async def begin(session: Current) -> JSONResponse:
            session["a"] = 1
            return JSONResponse({}, headers={"Vary": "Origin, cookie", "Cache-Control": "private"})

        with served(app) as client:
            answer = client.get("/")
        assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Origin, cookie", "private")
        return answer.headers["set-cookie"].partition("; ")[2]

    assert cookie(lasting=True) == "Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert cookie(same_site="strict") == "Path=/; Secure; HttpOnly; SameSite=Strict"
    assert "plain_http" not in caplog.text
    assert cookie(plain_http=True) == "Path=/; HttpOnly; SameSite=Lax"
    assert "SessionMiddleware(plain_http=True): the cookie 'session' is sent without encryption" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"cookie": "a b"},
        {"cookie": ""},
        {"cookie": "__Host-a"},
        {"cookie": "a;Path=/x"},
        {"same_site": "no"},
        {"same_site": "none", "plain_http": True},
        {"plain_http": "yes"},
        {"sessions": None},
    ],
)
def test_options_that_cannot_work_are_refused(sessions: Sessions, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="SessionMiddleware"):
        SessionMiddleware(FastAPI(), **{"sessions": sessions, **options})


@pytest.mark.parametrize(
    "options",
    [
        {"idle": 0},
        {"idle": "2h", "absolute": "1h"},
        {"absolute": "999d"},
        {"idle": -1},
        {"max_fields": 0},
        {"max_bytes": 2**40},
        {"per_user": True},
        {"name": "a:b"},
        {"name": ""},
    ],
)
def test_sessions_that_cannot_work_are_refused(shop: Outlast, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"sessions\("):
        shop.sessions(**options)


async def test_a_route_without_the_middleware_is_told(shop: Outlast) -> None:
    app = FastAPI()

    @app.get("/")
    async def read(session: Current) -> None: ...

    with pytest.raises(ConfigurationError, match="SessionMiddleware"):
        await ask(app, "GET", "/")
