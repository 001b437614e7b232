"""Rate limits of requests: the answers and headers of the middleware and of the dependency, and spoofed clients."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection

from outlast import ConfigurationError, Decision, Limiter, Outlast, Settings
from outlast.fastapi import ClientAddress, RateLimitMiddleware, install, rate_limit
from tests.support.servers.redis_server import RedisServer

PROBLEM = "application/problem+json"


@pytest.fixture
def shop() -> Outlast:
    return Outlast("shop", settings=Settings(url="memory:"))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


def app_of(shop: Outlast, *dependencies: Any, installed: bool = True) -> FastAPI:
    app = FastAPI()
    if installed:
        install(app, shop)

    @app.get("/", dependencies=list(dependencies))
    async def read() -> str:
        return "done"

    @app.get("/plain", dependencies=list(dependencies))
    async def plain() -> PlainTextResponse:
        return PlainTextResponse("done")

    return app


def client_of(app: Any, peer: str = "10.0.0.1") -> TestClient:
    return TestClient(app, client=(peer, 50000))


def limited(shop: Outlast, limiter: Limiter, **options: Any) -> FastAPI:
    app = app_of(shop)
    app.add_middleware(RateLimitMiddleware, limiter=limiter, **options)
    return app


def window_of(answer: Any, policy: str) -> int:
    """Return the `t` of a policy in RateLimit."""
    found = re.search(f'"{re.escape(policy)}";r=[0-9]+;t=([0-9]+)', answer.headers["RateLimit"])
    assert found is not None
    return int(found[1])


def test_the_middleware_tells_the_limits_and_refuses_with_a_problem(shop: Outlast) -> None:
    limiter = shop.limiter("3/minute, 1000/day", name="api", algorithm="gcra")
    with client_of(limited(shop, limiter)) as client:
        first = client.get("/")
        assert first.json() == "done"
        assert first.headers["RateLimit-Policy"] == '"api:3/m";q=3;w=60, "api:1000/d";q=1000;w=86400'
        assert first.headers["RateLimit"] == '"api:3/m";r=2;t=20, "api:1000/d";r=999;t=87'
        assert "Retry-After" not in first.headers
        assert [client.get(path).status_code for path in ("/plain", "/missing")] == [200, 404]
        refused = client.get("/")
        assert (refused.status_code, refused.headers["content-type"]) == (429, PROBLEM)
        assert refused.headers["RateLimit"].startswith('"api:3/m";r=0;t=')
        assert '"api:1000/d";r=997;t=' in refused.headers["RateLimit"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 20
        assert window_of(refused, "api:3/m") == int(refused.headers["Retry-After"]), "the draft: not after it"
        body = refused.json()
        assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
        assert (body["status"], body["code"], body["violated-policies"]) == (429, "rate-limited", ["api:3/m"])
        assert body["retry_after"] == int(refused.headers["Retry-After"])
        assert refused.headers["Cache-Control"] == "no-store"


def test_a_long_wait_is_told_whole(shop: Outlast) -> None:
    with client_of(limited(shop, shop.limiter("1/30d", name="api"))) as client:
        client.get("/")
        refused = client.get("/")
        wait = int(refused.headers["Retry-After"])
        assert 2_591_000 < wait <= 2_592_000
        assert (refused.json()["retry_after"], window_of(refused, "api:1/2592000s")) == (wait, wait)


@pytest.mark.parametrize("installed", [True, False])
def test_the_dependency_does_the_same(shop: Outlast, installed: bool) -> None:
    limited = Depends(rate_limit(shop.limiter("2/minute", name="api", algorithm="sliding")))
    with client_of(app_of(shop, limited, installed=installed)) as client:
        first = client.get("/")
        assert first.headers["RateLimit-Policy"] == '"api:2/m";q=2;w=60'
        assert first.headers["RateLimit"].startswith('"api:2/m";r=1;t=')
        assert client.get("/plain").status_code == 200
        refused = client.get("/")
        assert refused.status_code == 429
        assert refused.headers["RateLimit"].startswith('"api:2/m";r=0;t=')
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
        assert refused.json()["detail"].startswith("too many requests: try again in ")
        assert window_of(refused, "api:2/m") <= int(refused.headers["Retry-After"])
        if installed:
            assert (refused.headers["content-type"], refused.json()["code"]) == (PROBLEM, "rate-limited")


def test_the_dependency_gives_the_decision_and_takes_key_and_cost_from_dependencies(shop: Outlast) -> None:
    limiter = shop.limiter("10/hour", name="import")

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    async def rows(n: int = 1) -> int:
        return n

    app = FastAPI()
    install(app, shop)
    taken = Depends(rate_limit(limiter, key=user, cost=rows))

    @app.get("/import")
    async def rows_left(decision: Decision = taken) -> int:
        return decision.remaining

    with client_of(app) as client:
        assert client.get("/import?n=7", headers={"x-user": "ann"}).json() == 3
        assert client.get("/import?n=4", headers={"x-user": "ann"}).status_code == 429
        assert client.get("/import?n=4", headers={"x-user": "bob"}).json() == 6
        assert client.get("/import?n=1", headers={"x-user": "ann"}).json() == 2, "the refusal cost nothing"
        too_much = client.get("/import?n=11", headers={"x-user": "ann"})
        assert (too_much.status_code, too_much.json()["code"]) == (422, "invalid-arguments")
        assert client.get("/import?n=-1", headers={"x-user": "ann"}).status_code == 422


def test_a_request_without_a_key_is_limited_by_its_address_and_no_key_is_an_address(shop: Outlast) -> None:
    limiter = shop.limiter("1/day", name="api")
    app = limited(shop, limiter, key=lambda connection: connection.headers.get("x-user"))
    with client_of(app) as client:
        assert client.get("/").status_code == 200
        assert client.get("/").status_code == 429
        for user in ("10.0.0.1", "address:10.0.0.1", "ann"):
            assert client.get("/", headers={"x-user": user}).status_code == 200
        assert client.get("/", headers={"x-user": ""}).status_code == 429
        with client_of(app, "10.0.0.2") as other:
            assert other.get("/").status_code == 200


def test_what_is_exempt_costs_nothing_and_other_scopes_pass(shop: Outlast) -> None:
    limiter = shop.limiter("1/day", name="api")
    app = limited(shop, limiter, exempt=lambda connection: connection.scope["path"] == "/outlast/health")

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    async def cost(connection: HTTPConnection) -> str:
        return "none"

    with client_of(app) as client:
        assert all(client.get("/outlast/health").status_code == 200 for _ in range(3))
        for _ in range(2):
            with client.websocket_connect("/socket") as connected:
                assert connected.receive_text() == "hello"
        assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    asynchronous = limited(shop, shop.limiter("1/day", name="other"), key=cost, cost=lambda _: 2)
    with client_of(asynchronous) as client:
        assert client.get("/").status_code == 422


def test_functions_of_the_middleware_may_be_async(shop: Outlast) -> None:
    async def of_health(connection: HTTPConnection) -> bool:
        return bool(connection.scope["path"] == "/outlast/health")

    async def two(connection: HTTPConnection) -> int:
        return 2

    app = limited(shop, shop.limiter("4/day", name="api"), exempt=of_health, cost=two)
    with client_of(app) as client:
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
        assert client.get("/outlast/health").status_code == 200


def test_a_thousand_spoofed_headers_gain_nothing(shop: Outlast) -> None:
    """The proxy, at 10.0.0.1, adds the address of its peer, an attacker at 198.51.100.66, to what the attacker sent."""
    rng = random.Random(12)

    def address() -> str:
        return rng.choice(
            [
                ".".join(str(rng.randrange(256)) for _ in range(4)),
                f"2001:db8:{rng.randrange(65536):x}::{rng.randrange(65536):x}",
                *("unknown", "", "127.0.0.1", "10.0.0.1", "::1", 'for="', "x" * rng.randrange(300)),
            ]
        )

    def spoofed(added: str) -> list[tuple[str, str]]:
        lines = [
            ("X-Forwarded-For", ", ".join(address() for _ in range(rng.randrange(4)))) for _ in range(rng.randrange(3))
        ]
        others = [
            (name, address()) for name in ("X-Real-IP", "Forwarded", "Client-IP", "CF-Connecting-IP", "X-Client-IP")
        ]
        rng.shuffle(others)
        return [*lines, ("X-Forwarded-For", added), *others[: rng.randrange(6)]]

    for number, behind in enumerate((ClientAddress(hops=1), ClientAddress(networks="10.0.0.0/8"))):
        limiter = shop.limiter("5/day", name=f"hops-{number}", algorithm="sliding")
        with client_of(limited(shop, limiter, client=behind)) as client:
            found = [client.get("/", headers=spoofed("198.51.100.66")).status_code for _ in range(500)]
            assert [found.count(200), found.count(429)] == [5, 495]
            honest = client.get("/", headers=spoofed("203.0.113.5"))
            assert honest.status_code == 200, "another client is not limited by it"
    direct = limited(shop, shop.limiter("5/day", name="direct"))
    with client_of(direct, "198.51.100.66") as client:
        found = [client.get("/", headers=spoofed(address())).status_code for _ in range(200)]
        assert found.count(200) == 5


def test_addresses_of_one_ipv6_network_are_one_client(shop: Outlast) -> None:
    app = limited(shop, shop.limiter("3/day", name="api"))
    statuses = []
    for number in range(20):
        with client_of(app, f"2001:db8:7:1::{number:x}") as client:
            statuses.append(client.get("/").status_code)
    assert statuses == [200] * 3 + [429] * 17
    with client_of(app, "2001:db8:7:2::1") as client:
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("installed", [True, False])
def test_while_the_store_is_away_the_header_says_so_and_a_closed_limiter_answers_503(
    server: RedisServer, installed: bool
) -> None:
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=server.url, toolkit_timeout=1.0))
    app = app_of(shop, Depends(rate_limit(shop.limiter("2/day", name="api"))), installed=installed)

    @app.post("/login", dependencies=[Depends(rate_limit(shop.limiter("5/minute", name="login", closed=True)))])
    async def login() -> str:
        return "in"

    app.add_middleware(
        RateLimitMiddleware,
        limiter=shop.limiter("5/minute", name="closed", closed=True),
        exempt=lambda connection: connection.scope["path"] != "/plain",
    )
    with client_of(app) as client:
        assert [client.get("/").status_code, client.post("/login").status_code] == [200, 200]
        server.stop()
        shared = client.get("/")
        assert shared.status_code == 200
        assert shared.headers["RateLimit"].endswith("r=1;t=43200;outlast-approximate")
        assert [client.get("/").status_code for _ in range(2)] == [200, 429], "the process counts alone, from 0"
        refused = client.post("/login")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        if installed:
            assert (refused.headers["content-type"], refused.json()["code"]) == (PROBLEM, "toolkit-unavailable")
        assert client.get("/plain").json()["code"] == "toolkit-unavailable"


@pytest.mark.parametrize("wrong", [None, "10/second", Outlast("shop")])
def test_options_that_cannot_work_are_refused(shop: Outlast, wrong: Any) -> None:
    limiter = shop.limiter("1/day", name="api")
    any_name: Any = "user"
    for make in (rate_limit, lambda *given, **options: RateLimitMiddleware(FastAPI(), *given, **options)):
        with pytest.raises(ConfigurationError, match=r"limiter=.*: give shop.limiter\("):
            make(wrong)
        with pytest.raises(ConfigurationError, match=r"client=.*: give ClientAddress\(hops=1\)"):
            make(limiter, client=wrong)
        with pytest.raises(ConfigurationError, match=r"key='user'\): give a function"):
            make(limiter, key=any_name)


@pytest.mark.parametrize("key", [7, b"ann", ["ann"]])
def test_a_key_that_is_no_text_is_an_error_of_the_app(shop: Outlast, key: Any) -> None:
    app = limited(shop, shop.limiter("1/day", name="api"), key=lambda _: key)
    with client_of(app) as client, pytest.raises(TypeError, match="must be text or None"):
        client.get("/")


def test_a_database_of_limits_is_shared_over_a_restart(tmp_path: Path) -> None:
    settings = Settings(url="memory:", toolkit_url=f"sqlite:{tmp_path / 'kit.db'}", toolkit_timeout=30)
    for expected in ([200, 200, 429], [429, 429, 429]):
        shop = Outlast("shop", settings=settings)
        with client_of(limited(shop, shop.limiter("2/day", name="api"))) as client:
            assert [client.get("/").status_code for _ in range(3)] == expected
