"""Requests with odd paths and with headers that are odd, long, lists or sent twice: an answer or a 4xx, never a 5xx."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from outlast import Outlast, Settings
from outlast.fastapi import (
    CachedRoute,
    CachedRoutes,
    ClientAddress,
    Idempotency,
    RateLimitMiddleware,
    by_credentials,
    install,
)
from tests.support.asgi import Exchange, Reply

shop = Outlast("shop", settings=Settings(url="memory:"))
app = FastAPI()
visits = shop.board("visits", period="1d", max_members=10_000_000)


@app.get("/products/{name}")
async def product(name: str) -> str:
    return name


@app.post("/visits")
async def visit(request: Request, member: str = "m", points: int = 1) -> int:
    return await visits.add(member, points, once=request.headers.get("x-order"))


def user_of(connection: HTTPConnection) -> str | None:
    return connection.headers.get("x-user")


app.add_middleware(
    CachedRoutes,
    shop=shop,
    routes=[
        CachedRoute("/products/{name}", ttl=60, identity=by_credentials, vary=["accept-language"], tags=["p:{name}"])
    ],
)
app.add_middleware(
    RateLimitMiddleware,
    limiter=shop.limiter("1000000/second", name="all"),
    client=ClientAddress(hops=2, header="forwarded"),
    key=user_of,
)
install(app, shop, idempotency=Idempotency(max_request=1000))

NAMES = [
    *("Idempotency-Key", "Forwarded", "X-User", "Authorization", "Cookie", "Accept-Language", "Cache-Control", "Host"),
    *("Content-Length", "Range", "X-Order", "Transfer-Encoding", "Content-Type"),
]
ODD = [
    *(
        "",
        " ",
        ",",
        ",,,",
        '"',
        '"a',
        '""',
        '"a","b"',
        "a, b",
        '"a";q=1',
        "\\",
        "\x00",
        "\xff\xfe",
        "é",
        "{}",
        "*",
        "a\tb",
    ),
    *(
        '"' + "a" * 255 + '"',
        '"' + "a" * 256 + '"',
        "a" * 65_536,
        '"' * 65_536,
        "," * 65_536,
        "for=" * 10_000,
        "-1",
        "nan",
    ),
    *(
        "for=1.2.3.4",
        'for="[::1]:1"',
        "for=unknown",
        "no-store",
        "max-age=-1",
        "9" * 5000,
        "Basic x",
        "a=b; a=c",
        "chunked",
    ),
]
values = st.sampled_from(ODD) | st.text(st.characters(max_codepoint=255), max_size=50)
headers = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=6)
PATHS = [
    "/visits",
    "/products/a",
    "/products/é",
    "/products/\x00",
    "/products/{name}",
    "/products/" + "x" * 5000,
    "//",
    "",
]
QUERIES = ["", "member=", "member=a", "member=%00", "member=%ff", "member=" + "x" * 600, "points=0", "points=1e300"]
QUERIES += [
    "points=" + "9" * 5000,
    "points=9007199254740992",
    "points=nan",
    "member=a&member=b",
    "&=&",
    "%",
    "points=true",
]


async def asked(method: str, path: str, query: str, sent: list[tuple[str, str]], body: bytes = b"") -> Reply:
    reply = await Exchange(method, path, sent, (body,), query=query).serve(app)
    assert reply is not None
    return reply


@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]),
    st.sampled_from(PATHS),
    st.sampled_from(QUERIES),
    headers,
    st.sampled_from([b"", b"{}", b"x" * 1001]),
)
@example("POST", "/visits", "", [("Idempotency-Key", '"a"'), ("Idempotency-Key", '"b"')], b"")
@example("POST", "/visits", "", [("X-Order", ""), ("X-User", "a"), ("X-User", "b")], b"")
@example(
    "GET", "/products/a", "", [("Authorization", "a"), ("Authorization", "b"), ("Cookie", "a"), ("Cookie", "")], b""
)
async def test_any_request_has_an_answer(
    method: str, path: str, query: str, sent: list[tuple[str, str]], body: bytes
) -> None:
    reply = await asked(method, path, query, sent, body)
    assert reply.status < 500, reply
    assert (await asked("GET", "/products/a", "", [])).body == b'"a"'
    before = int((await asked("POST", "/visits", "member=valid", [])).body)
    assert int((await asked("POST", "/visits", "member=valid", [])).body) == before + 1


@pytest.mark.parametrize("query", ["member=", "member=" + "x" * 513, "points=9007199254740992"])
async def test_a_member_or_points_that_a_client_may_not_give_are_422(query: str) -> None:
    reply = await asked("POST", "/visits", query, [])
    assert reply.status == 422
