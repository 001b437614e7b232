"""Answers of routes are kept, and no answer of one user reaches another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from outlast import ConfigurationError, Outlast, Settings
from outlast.fastapi import CachedRoute, CachedRoutes, by_credentials

shop = Outlast("shop", settings=Settings(url="memory:"))
app = FastAPI()
calls: list[str] = []


@app.get("/me")
async def me(request: Request) -> dict[str, str | None]:
    """The answer is personal, and the handler says nothing of it."""
    calls.append("me")
    await asyncio.sleep(0)
    return {"user": request.headers.get("authorization") or request.cookies.get("session")}


@app.get("/own")
async def own(request: Request) -> dict[str, str | None]:
    return await me(request)


@app.get("/products/{id}")
async def product(id: int, request: Request) -> dict[str, Any]:
    calls.append(f"product {id}")
    await asyncio.sleep(0)
    return {"id": id, "lang": request.headers.get("accept-language")}


@app.get("/says/{name}")
async def says(name: str, value: str, response: Response) -> int:
    calls.append(name)
    response.headers[name] = value
    return len(calls)


@app.get("/login")
async def login(request: Request, response: Response) -> str:
    """A public route that sets a cookie for its caller only."""
    calls.append("login")
    await asyncio.sleep(0)
    response.set_cookie("session", request.headers["x-user"])
    return request.headers["x-user"]


@app.get("/large")
async def large() -> Response:
    calls.append("large")
    return StreamingResponse(iter([b"x" * 100_000] * 10))


@app.get("/fails")
async def fails(response: Response) -> str:
    calls.append("fails")
    response.status_code = 404
    return "none"


app.add_middleware(
    CachedRoutes,
    shop=shop,
    routes=[
        CachedRoute("/me", ttl=60),
        CachedRoute("/own", ttl=60, identity=by_credentials),
        CachedRoute("/products/{id}", ttl=60, public=True, vary=["Accept-Language"], tags=["product:{id}"]),
        CachedRoute("/says/{name}", ttl=60),
        CachedRoute("/login", ttl=60, public=True),
        CachedRoute("/large", ttl=60, stale=60),
        CachedRoute("/fails", ttl=60),
    ],
)


class Answer:
    """What the app sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = 0


async def get(path: str, *, method: str = "GET", **headers: str) -> Answer:
    answer, (path, _, query) = Answer(), path.partition("?")
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"shop"), *sent],
        "client": ("127.0.0.1", 1),
        "server": ("shop", 80),
    }
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if over.is_set():
            await asyncio.Event().wait()
        over.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not answer.status, "one answer for a request"
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")
            answer.ended += not message.get("more_body", False)

    served: Callable[..., Awaitable[None]] = app
    await served(scope, receive, send)
    assert answer.ended == 1
    return answer


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    calls.clear()
    with shop.testing():
        yield


@pytest.mark.parametrize("path", ["/me", "/own"])
@pytest.mark.parametrize("by", ["authorization", "cookie"])
async def test_two_users_never_get_the_answers_of_each_other(path: str, by: str) -> None:
    rng = Random(1)

    async def ask() -> bool:
        user = rng.choice(["ann", "bob"])
        answer = await get(path, **{by: user if by == "authorization" else f"session={user}"})
        return answer.body == b'{"user":"%s"}' % user.encode()

    for _ in range(10):
        assert all(await asyncio.gather(*(ask() for _ in range(100))))
    assert len(calls) == (1000 if path == "/me" else 2)


async def test_an_answer_that_sets_a_cookie_goes_to_its_own_request_also_when_many_ask_at_once() -> None:
    users = [f"user{number}" for number in range(50)]
    answers = await asyncio.gather(*(get("/login", x_user=user) for user in users))
    assert [each.body for each in answers] == [f'"{user}"'.encode() for user in users]
    assert all(user in each.headers["set-cookie"] for user, each in zip(users, answers, strict=True))
    assert len(calls) == 50


async def test_a_public_answer_is_computed_once_for_its_key() -> None:
    answers = await asyncio.gather(*(get("/products/1", cookie=f"session={n}") for n in range(50)))
    assert {each.body for each in answers} == {b'{"id":1,"lang":null}'}
    assert calls == ["product 1"]
    assert (await get("/products/1", accept_language="de")).body == b'{"id":1,"lang":"de"}'
    await get("/products/1?page=2")
    await get("/products/2")
    assert len(calls) == 4
    await shop.cache.invalidate("product:1")
    await get("/products/1")
    await get("/products/2")
    assert len(calls) == 5
    assert (await get("/products/1", method="HEAD")).status == 405


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("Cache-Control", "private", False),
        ("Cache-Control", "max-age=5, No-Store", False),
        ("Cache-Control", 'no-cache="x"', False),
        ("Cache-Control", "public, max-age=5", True),
        ("Vary", "*", False),
        ("Vary", "Cookie", False),
        ("Vary", "accept-language", False),
        ("Set-Cookie", "a=b", False),
        ("X-Else", "1", True),
    ],
)
async def test_what_an_answer_says_of_itself_decides(name: str, value: str, kept: bool) -> None:
    bodies = [(await get(f"/says/{name}?value={value}")).body for _ in range(2)]
    assert bodies == ([b"1", b"1"] if kept else [b"1", b"2"])


async def test_large_answers_and_errors_pass_and_are_not_kept() -> None:
    assert [len((await get("/large")).body) for _ in range(2)] == [1_000_000, 1_000_000]
    assert [(await get("/fails")).status for _ in range(2)] == [404, 404]
    await get("/says/x?value=1", cache_control="no-store")
    await get("/says/x?value=1", cache_control="no-store")
    assert calls == ["large", "large", "fails", "fails", "x", "x"]


def test_what_cannot_work_is_refused() -> None:
    for options in ({"ttl": -1}, {"ttl": 1, "vary": "a"}, {"ttl": 1, "vary": ["*"]}, {"ttl": 1, "tags": ["{b}"]}):
        with pytest.raises(ConfigurationError):
            CachedRoute("/x/{a}", **options)
    with pytest.raises(ConfigurationError, match="not both"):
        CachedRoute("/x", ttl=1, public=True, identity=by_credentials)
    with pytest.raises(ConfigurationError, match="begins with"):
        CachedRoute("x", ttl=1)
