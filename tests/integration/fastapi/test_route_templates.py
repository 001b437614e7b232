"""Requests are measured by what the app declares: no path, method or status of a client makes a series of its own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Host, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast.fastapi.metrics import REQUESTS
from outlast.fastapi.request_times import RequestTimes
from tests.support.asgi import Exchange

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "TRACE", "CONNECT", "MKCOL", "X"]


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("plain")


async def other_server(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that is no Starlette."""
    await PlainTextResponse("other", 418 if scope["path"].endswith("teapot") else 200)(scope, receive, send)


def large_app(folder: Path) -> FastAPI:
    """An app with all that routes are made of."""
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "root"

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    @app.put("/items/{number}")
    async def put_item(number: int) -> int:
        return number

    @app.get("/files/{path:path}")
    async def file(path: str) -> str:
        return path

    @app.get("/fails")
    async def fails() -> None:
        raise ValueError("as it does")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]))

    @app.websocket("/live/{name}")
    async def live(socket: WebSocket, name: str) -> None:
        await socket.accept()
        await socket.close()

    inner = APIRouter(prefix="/orders")

    @inner.get("/{order}")
    async def order(order: str) -> str:
        return order

    @inner.get("/{order}/missing", status_code=200)
    async def missing(order: str) -> JSONResponse:
        return JSONResponse({}, 404)

    outer = APIRouter(prefix="/v1/{tenant}")
    outer.include_router(inner)
    app.include_router(outer)
    app.include_router(inner, prefix="/again")

    api = FastAPI()

    @api.get("/users/{user}")
    async def user(user: str) -> str:
        return user

    deep = Starlette(routes=[Route("/deep/{x}", plain), Mount("/deeper", routes=[Route("/{y:int}", plain)])])
    api.mount("/starlette", deep)
    app.mount("/api", api)
    app.mount("/{tenant}/api", api)
    app.mount("/other", other_server)
    (folder / "style.css").write_text("a")
    app.mount("/static", StaticFiles(directory=folder))
    app.router.routes.append(Host("admin.example.org", Starlette(routes=[Route("/only-there/{z}", plain)])))
    return app


SERVED = [
    ("GET", "/", "/", 2),
    ("GET", "/items/5", "/items/{number}", 2),
    ("GET", "/items/x", "/items/{number}", 4),
    ("PUT", "/items/5", "/items/{number}", 2),
    ("GET", "/files/a/b/c", "/files/{path}", 2),
    ("GET", "/fails", "/fails", 5),
    ("GET", "/stream", "/stream", 2),
    ("GET", "/v1/blue/orders/7", "/v1/{tenant}/orders/{order}", 2),
    ("GET", "/v1/blue/orders/7/missing", "/v1/{tenant}/orders/{order}/missing", 4),
    ("GET", "/again/orders/7", "/again/orders/{order}", 2),
    ("GET", "/api/users/7", "/api/users/{user}", 2),
    ("GET", "/blue/api/users/7", "/{tenant}/api/users/{user}", 2),
    ("GET", "/api/starlette/deep/7", "/api/starlette/deep/{x}", 2),
    ("GET", "/api/starlette/deeper/7", "/api/starlette/deeper/{y}", 2),
    ("GET", "/blue/api/starlette/deeper/7", "/{tenant}/api/starlette/deeper/{y}", 2),
    ("GET", "/other/anything", "/other", 2),
    ("GET", "/other/teapot", "/other", 4),
    ("GET", "/static/style.css", "/static", 2),
    ("GET", "/openapi.json", "/openapi.json", 2),
]
UNSERVED = [
    ("GET", "/none"),
    ("GET", "/wp-login.php"),
    ("POST", "/items/5"),
    ("HEAD", "/items/5"),
    ("PROPFIND", "/"),
    ("DELETE", "/v1/blue/orders/7"),
    ("GET", "/api/none"),
    ("GET", "/blue/api/none"),
    ("GET", "/api/starlette/none"),
    ("GET", "/api/starlette/deeper/x"),
    ("POST", "/api/users/7"),
    ("GET", "/only-there/7"),
    ("GET", "/static/none.css"),
    ("POST", "/static/style.css"),
    ("GET", "/live/7"),
    ("GET", "/items/5/"),
    ("OPTIONS", "/items/5"),
]


def counts() -> dict[tuple[str, ...], float]:
    return {each.labels: sum(each._meters.numbers[each.at : each.at + 11]) for each in REQUESTS.series}


def counted(client: TestClient, method: str, path: str, **options: Any) -> list[tuple[str, ...]]:
    """Return the labels of the series in which one request is counted."""
    before = counts()
    client.request(method, path, follow_redirects=False, **options)
    after = counts()
    return [labels for labels, count in after.items() for _ in range(int(count - before.get(labels, 0)))]


def measured(app: FastAPI) -> TestClient:
    app.add_middleware(RequestTimes, routes=lambda: app.routes)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return measured(large_app(tmp_path))


@pytest.mark.parametrize(("method", "path", "template", "status"), SERVED)
def test_a_request_is_counted_by_the_template_of_its_route(
    client: TestClient, method: str, path: str, template: str, status: int
) -> None:
    assert counted(client, method, path) == [(method, template, f"{status}xx")]


@pytest.mark.parametrize(("method", "path"), UNSERVED)
def test_what_no_route_serves_is_one_route_whatever_its_method(client: TestClient, method: str, path: str) -> None:
    ((shown, route, status),) = counted(client, method, path)
    assert (shown, route) == ("other", "unmatched")
    assert status in ("3xx", "4xx")


def test_a_route_by_host_is_counted_by_its_template(client: TestClient) -> None:
    labels = counted(client, "GET", "/only-there/7", headers={"host": "admin.example.org"})
    assert labels == [("GET", "/only-there/{z}", "2xx")]


def test_a_web_socket_is_not_counted(client: TestClient) -> None:
    before = counts()
    with client.websocket_connect("/live/7"):
        pass
    assert counts() == before


def test_other_middleware_changes_nothing(tmp_path: Path) -> None:
    app = large_app(tmp_path)
    app.add_middleware(GZipMiddleware)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])

    @app.middleware("http")
    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    client = measured(app)
    for method, path, template, status in SERVED:
        assert counted(client, method, path) == [(method, template, f"{status}xx")]
    preflight = {"origin": "https://a.example", "access-control-request-method": "GET"}
    assert counted(client, "OPTIONS", "/items/5", headers=preflight) == [("other", "unmatched", "2xx")]


class Copying:
    """Middleware that hides from those before it what the router finds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(dict(scope), receive, send)


def test_middleware_that_copies_the_scope_hides_only_404(tmp_path: Path) -> None:
    app = large_app(tmp_path)
    app.add_middleware(Copying)
    client = measured(app)
    for method, path, template, status in SERVED:
        if path != "/v1/blue/orders/7/missing":
            assert counted(client, method, path) == [(method, template, f"{status}xx")]


@pytest.mark.parametrize("middleware", [[], [Middleware(Copying)]])
@pytest.mark.parametrize("path", ["/items/5", "/api/items/5"])
def test_behind_a_proxy_that_removes_a_prefix_or_keeps_it(path: str, middleware: list[Middleware]) -> None:
    app = FastAPI(middleware=middleware)

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    app.add_middleware(RequestTimes, routes=lambda: app.routes)
    assert counted(TestClient(app, root_path="/api"), "GET", path) == [("GET", "/items/{number}", "2xx")]


def test_a_route_that_is_added_while_the_app_serves(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    assert counted(client, "GET", "/late") == [("other", "unmatched", "4xx")]
    app = client.app
    assert isinstance(app, FastAPI)

    @app.get("/late/{number}")
    async def late(number: int) -> int:
        return number

    counted(client, "GET", "/items/5")
    monkeypatch.setattr("outlast.fastapi.route_templates.monotonic", lambda: float("inf"))
    assert counted(client, "GET", "/late/5") == [("GET", "/late/{number}", "2xx")]


def scan(rng: random.Random) -> tuple[str, str]:
    """Return a request of a scanner: often below what the app serves."""
    before = [
        "",
        "/items",
        "/api",
        "/api/starlette",
        "/other",
        "/static",
        "/v1/a/orders",
        f"/{rng.random()}/api",
        "/live",
    ]
    words = ["wp-admin", ".env", "..", "%2e%2e", "a" * 300, "%00", "\u00e4", "{number}", f"{rng.getrandbits(64):x}"]
    path = "/".join([rng.choice(before), *rng.choices(words, k=rng.randint(1, 4))])
    return rng.choice(METHODS) if rng.random() < 0.8 else f"M{rng.getrandbits(32):x}", path


async def test_5000_paths_and_methods_of_a_scanner_make_no_further_series(client: TestClient) -> None:
    rng = random.Random(1)
    for _ in range(500):
        await Exchange(*scan(rng)).serve(client.app)
    before = set(counts())
    for _ in range(5000):
        await Exchange(*scan(rng)).serve(client.app)
    assert set(counts()) == before
    unmatched = {labels for labels in before if labels[1] == "unmatched"}
    assert unmatched <= {("other", "unmatched", f"{status}xx") for status in (2, 3, 4, 5)}
