"""The load shedder between a real server and many real clients; and what a plain ASGI app sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from outlast import ConfigurationError, Outlast, Settings
from outlast.fastapi import LoadShedder, RequestClass, Shed, install
from tests.support.polling import until
from tests.support.served import Client, Served, serving

PROBLEM = "application/problem+json"
CLASSES: dict[bytes, RequestClass] = {b"critical": "critical", b"background": "background"}


def of_query(scope: Any) -> RequestClass:
    return CLASSES.get(scope["query_string"], "normal")


class App:
    """A plain ASGI app: most paths answer when `open` is set. It counts its calls and those that run."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.calls = 0
        self.running = 0
        self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._answer(scope["path"], receive, send)
        finally:
            self.running -= 1

    async def _answer(self, path: str, receive: Receive, send: Send) -> None:
        if path == "/fails":
            raise ValueError("as it does")
        if path == "/until-gone":
            while (await receive())["type"] == "http.request":
                pass
            return
        if path not in ("/quick", "/health"):
            await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def hold(served: Served, app: App, path: str, number: int = 1, *headers: str) -> list[Client]:
    """Begin so many requests, and return when the app has them."""
    before = app.running
    clients = []
    for _ in range(number):
        clients.append(await served.client())
        clients[-1].begin(path, *headers)
    await until(lambda: app.running == before + number, f"{before + number} requests run")
    return clients


async def test_of_many_clients_as_many_are_served_as_there_are_places() -> None:
    app = App()
    shedder = LoadShedder(app, Shed(max_in_flight=20))
    async with serving(shedder) as served:
        calls = [asyncio.create_task(served.get("/")) for _ in range(200)]
        await until(lambda: sum(call.done() for call in calls) == 182, "182 are refused")
        assert (app.running, shedder.in_flight) == (18, 18)
        app.open.set()
        answers = await asyncio.gather(*calls)
        assert sorted(answer.status for answer in answers) == [200] * 18 + [503] * 182
        assert (app.calls, app.most) == (18, 18)
        await until(lambda: shedder.in_flight == 0, "all have ended")
        assert (await served.get("/")).status == 200
        waits = [int(answer.headers["retry-after"]) for answer in answers if answer.status == 503]
        assert all(1 <= seconds <= 11 for seconds in waits), "18 places of a second each for 182 clients"


async def test_a_refusal_is_a_problem() -> None:
    app = App()
    async with serving(LoadShedder(app, Shed(max_in_flight=1))) as served:
        await hold(served, app, "/")
        answer = await served.get("/")
        assert (answer.status, answer.headers["content-type"]) == (503, PROBLEM)
        assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("1", "no-store")
        assert answer.json == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "too many requests are being served: try again later",
            "code": "overloaded",
            "limit": "in-flight",
            "retry_after": 1,
        }


async def test_lower_classes_are_refused_first() -> None:
    app = App()
    async with serving(LoadShedder(app, Shed(max_in_flight=10, classes=of_query))) as served:

        async def statuses() -> list[int]:
            return [(await served.get(f"/quick?{of}")).status for of in ("background", "normal", "critical")]

        await hold(served, app, "/?background", 4)
        assert await statuses() == [200, 200, 200]
        await hold(served, app, "/?background")
        assert await statuses() == [503, 200, 200]
        await hold(served, app, "/?normal", 4)
        assert await statuses() == [503, 503, 200]
        await hold(served, app, "/?critical")
        assert await statuses() == [503, 503, 503]
        app.open.set()
        await until(lambda: app.running == 0, "all have ended")
        assert await statuses() == [200, 200, 200]


async def test_a_loop_that_is_late_refuses_until_it_has_caught_up() -> None:
    app = App()
    hogging = True

    async def hog() -> None:
        while hogging:
            time.sleep(0.2)  # code that blocks the loop, again and again
            await asyncio.sleep(0)

    async with serving(LoadShedder(app, Shed(max_lag="100ms"))) as served:
        assert (await served.get("/quick")).status == 200
        hog_task = asyncio.create_task(hog())

        async def refused() -> bool:
            answer = await served.get("/quick")
            return answer.status == 503 and answer.json["limit"] == "lag" and int(answer.headers["retry-after"]) >= 1

        async def taken() -> bool:
            return (await served.get("/quick")).status == 200

        await until(refused, "it is refused for lag")
        assert (await served.get("/health")).status == 200, "a critical one is not"
        hogging = False
        await hog_task
        await until(taken, "it is taken again")


class TestPlaces:
    """Every place comes back."""

    async def test_of_a_request_that_fails(self) -> None:
        shedder = LoadShedder(App(), Shed(max_in_flight=1))
        async with serving(shedder) as served:
            for _ in range(5):
                client = await served.client()
                client.begin("/fails")
                assert (await client.head())[0] == 500
                await until(lambda: shedder.in_flight == 0, "its place is free")

    async def test_of_a_client_that_goes_before_its_body_has_come(self) -> None:
        app = App()
        shedder = LoadShedder(app, Shed(max_in_flight=1))
        async with serving(shedder) as served:
            for _ in range(5):
                (client,) = await hold(served, app, "/until-gone", 1, "content-length: 9")
                assert shedder.in_flight == 1
                client.vanish()
                await until(lambda: shedder.in_flight == 0, "its place is free")

    async def test_of_a_task_that_is_cancelled(self) -> None:
        shedder = LoadShedder(App(), Shed(max_in_flight=1))
        task = asyncio.create_task(shedder(http("/"), never_read, ignored))
        await asyncio.sleep(0)
        assert shedder.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert shedder.in_flight == 0

    async def test_a_request_counts_until_the_app_is_done_with_it(self) -> None:
        """A client that gives up does not stop work that does not look for it: this work is still load."""
        app = App()
        shedder = LoadShedder(app, Shed(max_in_flight=1))
        async with serving(shedder) as served:
            (client,) = await hold(served, app, "/")
            client.vanish()
            assert (await served.get("/")).status == 503
            app.open.set()
            await until(lambda: shedder.in_flight == 0, "its place is free")
            assert (await served.get("/")).status == 200

    async def test_a_stream_counts_to_its_end(self) -> None:
        app = FastAPI()
        shedder = LoadShedder(app, Shed(max_in_flight=1))
        more = asyncio.Event()

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            async def parts() -> AsyncIterator[bytes]:
                yield b"first"
                await more.wait()
                yield b"last"

            return StreamingResponse(parts())

        async with serving(shedder) as served:
            client = await served.client()
            client.begin("/stream")
            await client.reader.readuntil(b"first\r\n")
            assert shedder.in_flight == 1
            assert (await served.get("/stream")).status == 503
            more.set()
            await client.reader.readuntil(b"last\r\n0\r\n")
            await until(lambda: shedder.in_flight == 0, "its place is free")

    async def test_of_a_client_that_leaves_a_stream(self) -> None:
        app = FastAPI()
        shedder = LoadShedder(app, Shed(max_in_flight=1))

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            async def parts() -> AsyncIterator[bytes]:
                while True:
                    yield b"more"
                    await asyncio.sleep(0.01)

            return StreamingResponse(parts())

        async with serving(shedder) as served:
            for _ in range(3):
                client = await served.client()
                client.begin("/stream")
                await client.reader.readuntil(b"more\r\n")
                assert shedder.in_flight == 1
                client.vanish()
                await until(lambda: shedder.in_flight == 0, "its place is free")

    async def test_of_clients_that_do_what_they_want(self) -> None:
        app = App()
        shedder = LoadShedder(app, Shed(max_in_flight=30))
        chance = random.Random(7)
        async with serving(shedder) as served:

            async def visit(path: str, vanishes: bool) -> None:
                client = await served.client()
                client.begin(path, *(["content-length: 9"] if path == "/until-gone" else []))
                if vanishes:
                    await asyncio.sleep(chance.random() / 50)
                    client.vanish()
                else:
                    await client.head()

            visits = [
                visit(path, path == "/until-gone" or chance.random() < 0.3)
                for path in chance.choices(["/", "/quick", "/fails", "/until-gone"], k=300)
            ]
            tasks = [asyncio.create_task(each) for each in visits]
            await until(lambda: app.most == 27, "it is full")
            app.open.set()
            await asyncio.gather(*tasks)
            await until(lambda: shedder.in_flight == 0, "all places are free")
            assert (app.running, app.most) == (0, 27)


def http(path: str, query: bytes = b"") -> Scope:
    return {"type": "http", "path": path, "query_string": query, "headers": []}


async def never_read() -> Message:
    raise AssertionError("the body was read")


async def ignored(message: Message) -> None:
    pass


@contextlib.asynccontextmanager
async def full(shedder: LoadShedder) -> AsyncIterator[None]:
    """Hold its one place while the block runs."""
    task = asyncio.create_task(shedder(http("/"), never_read, ignored))
    await asyncio.sleep(0)
    assert shedder.in_flight == 1
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_the_body_of_a_refused_request_is_not_read() -> None:
    app = App()
    async with serving(LoadShedder(app, Shed(max_in_flight=1))) as served:
        await hold(served, app, "/")
        client = await served.client()
        client.begin("/", "content-length: 1000000", "expect: 100-continue", method="POST")
        assert (await client.answer()).status == 503, "a server that reads answers 100 first"
    shedder = LoadShedder(App(), Shed(max_in_flight=1))
    async with full(shedder):
        await shedder(http("/"), never_read, ignored)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_and_do_not_count(kind: str) -> None:
    got: list[tuple[Any, ...]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.Event().wait()
        got.append((scope, receive, send, shedder.in_flight))

    shedder = LoadShedder(app, Shed(max_in_flight=1, max_lag="10ms"))
    async with full(shedder):
        scope = {"type": kind}
        await shedder(scope, never_read, ignored)
        assert got == [(scope, never_read, ignored, 1)]


async def test_middleware_may_add_headers_to_each_refusal() -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"].append((b"x-added", b"once"))
            seen.append(message["headers"])

    shedder = LoadShedder(App(), Shed(max_in_flight=1))
    async with full(shedder):
        for _ in range(70):  # from the sixtieth on the answers are the same
            await shedder(http("/"), never_read, send)
    assert [[name for name, _ in headers].count(b"x-added") for headers in seen] == [1] * 70


def test_a_loop_that_ended_in_the_middle_of_a_request_takes_no_place_of_the_next() -> None:
    shedder: LoadShedder

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def leave() -> Any:
        request = shedder(http("/"), never_read, ignored)
        request.send(None)  # it holds its place, and nothing ends it
        assert shedder.in_flight == 1
        return request

    async def count() -> int:
        return shedder.in_flight

    shedder = LoadShedder(wait, Shed(max_in_flight=1))
    request = asyncio.run(leave())
    assert asyncio.run(count()) == 0
    request.close()
    assert asyncio.run(count()) == 0


async def later(scope: Any) -> Any:
    return "critical"


def fails(scope: Any) -> Any:
    raise KeyError("x-class")


@pytest.mark.parametrize(
    ("classes", "gave"),
    [
        (fails, "KeyError('x-class')"),
        (lambda scope: "urgent", "'urgent'"),
        (lambda scope: None, "None"),
        (lambda scope: [], "[]"),
        (lambda scope: later(scope), "<coroutine object later"),
    ],
    ids=["raises", "unknown", "none", "unhashable", "coroutine"],
)
async def test_a_function_of_classes_that_fails_fails_no_request(
    classes: Callable[[Any], Any], gave: str, caplog: pytest.LogCaptureFixture
) -> None:
    shedder = LoadShedder(App(), Shed(max_in_flight=10, classes=classes))
    statuses: list[int] = []

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

    for _ in range(3):
        await shedder(http("/quick"), never_read, send)
    assert statuses == [200] * 3
    told = [record.getMessage() for record in caplog.records if record.name == "outlast.fastapi"]
    assert len(told) == 1
    assert f" gave {gave}" in told[0]
    assert "return 'critical', 'normal' or 'background'" in told[0]
    tasks = [asyncio.create_task(shedder(http("/"), never_read, ignored)) for _ in range(9)]
    await asyncio.sleep(0)
    await shedder(http("/"), never_read, send)
    assert statuses[3:] == [503], "it counts as normal"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_refusals_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "outlast.fastapi")
    shedder = LoadShedder(App(), Shed(max_in_flight=1))
    async with full(shedder):
        for _ in range(50):
            await shedder(http("/"), never_read, ignored)
    assert [record.getMessage() for record in caplog.records] == [
        "overloaded (in-flight): 1 request refused since the last such line; 1 in flight, the event loop is 0 ms late"
    ]


def new_shop(name: str = "shop") -> Outlast:
    return Outlast(name, settings=Settings(url="memory:"))


class TestInstall:
    async def test_the_app_sheds_and_its_health_stays(self) -> None:
        app = FastAPI()
        install(app, new_shop(), shed=Shed(max_in_flight=2))
        calls = 0
        opened = asyncio.Event()

        @app.get("/slow")
        async def slow() -> None:
            nonlocal calls
            calls += 1
            await opened.wait()

        async with serving(app) as served:
            (await served.client()).begin("/slow")
            await until(lambda: calls == 1, "the first one runs")
            refused = await served.get("/slow")
            assert (refused.status, refused.json["code"]) == (503, "overloaded")
            assert (await served.get("/outlast/health")).status == 200
            assert (await served.get("/outlast/jobs/mail.none")).status == 503
            opened.set()

    def test_it_is_off_by_default(self) -> None:
        app = FastAPI()
        install(app, new_shop())
        assert app.user_middleware == []

    def test_the_deadline_header_stands_beside_it(self) -> None:
        app = FastAPI()
        install(app, new_shop(), shed=Shed(max_in_flight=1), deadline_header="X-Deadline-Seconds")
        client = TestClient(app)
        assert client.get("/outlast/health").status_code == 200
        assert client.get("/outlast/health", headers={"X-Deadline-Seconds": "no"}).status_code == 400
        assert client.get("/outlast/health").status_code == 200

    def test_a_second_one_is_refused(self) -> None:
        app = FastAPI()
        install(app, new_shop(), shed=Shed(max_in_flight=1))
        with pytest.raises(ConfigurationError, match=r"a load shedder already.*give shed= once"):
            install(app, new_shop("other"), shed=Shed(max_in_flight=1), prefix="/other")
        install(app, new_shop("other"), prefix="/other")

    @pytest.mark.parametrize("shed", [100, True, "200ms", {"max_in_flight": 1}, Shed])
    def test_what_is_no_shed_is_refused(self, shed: Any) -> None:
        app = FastAPI()
        with pytest.raises(ConfigurationError, match=r"install\(shed=.*give Shed\(max_in_flight=100"):
            install(app, new_shop(), shed=shed)
        install(app, new_shop())  # nothing of the refused one is left
        with pytest.raises(ConfigurationError, match=r"LoadShedder\(shed=.*give Shed\(max_in_flight=100"):
            LoadShedder(App(), shed)
