"""outlast.fastapi as a user meets it: over HTTP from a real server, and in process where that is enough."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from outlast import (
    BodyTooLarge,
    ConfigurationError,
    EnqueueUnknown,
    EventIncomplete,
    EventUnroutable,
    IdConflict,
    InvalidArguments,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    LockLost,
    LockTimeout,
    ObjectDamaged,
    ObjectNotFound,
    Outlast,
    QueueFull,
    ResultTimeout,
    Settings,
    StoreCorrupt,
    StoreFull,
    StoreUnavailable,
    UniqueConflict,
)
from outlast.admin.guards import command_guard
from outlast.brokers.memory import MemoryStore
from outlast.core import errors
from outlast.core.errors import StoreError, StoreMoved, StoreUncertain
from outlast.core.message import Message
from outlast.declare.options import Options
from outlast.fastapi import install
from outlast.fastapi.problems import handlers
from tests.support.polling import until

ROOT = Path(__file__).parents[3]
PROBLEM = "application/problem+json"
WORK = """
import asyncio, sys
from tests.support.apps.shop_api import shop
from tests.support.working import working

async def main():
    async with shop, working(shop):
        print(await shop.handle(sys.argv[1]).result(30))

asyncio.run(main())
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a real server with a store in a file, and the environment that finds the store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "OUTLAST_SHOP_URL": f"sqlite:{tmp_path}/shop.db", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.support.apps.shop_api:app",
        "--port",
        str(port),
        "--log-level=warning",
    ]
    with subprocess.Popen(command, env=environ, cwd=tmp_path) as server:
        try:
            yield f"http://127.0.0.1:{port}", environ
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) in (0, -signal.SIGTERM)


async def test_a_shop_from_order_to_result(served: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environ = served
    async with httpx2.AsyncClient(base_url=address, timeout=20) as client:

        async def up() -> bool:
            try:
                return (await client.get("/outlast/health")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(up, "the server answers")
        answer = await client.post("/orders", json={"id": 7, "email": "a@b.c"})
        assert answer.status_code == 202
        told = answer.json()
        assert (told["first"], told["kept"]) == ("mail.at-start", "os-crash")
        assert (await client.post("/plain-orders", json={"id": 8, "email": "a@b.c"})).status_code == 202

        full = await client.post("/orders", json={"id": 9, "email": "a@b.c"})
        assert (full.status_code, full.headers["content-type"]) == (503, PROBLEM)
        assert int(full.headers["retry-after"]) >= 1
        assert (full.json()["code"], full.json()["queue"]) == ("queue-full", "mail")

        public = (await client.get(f"/outlast/jobs/{told['job']}")).json()
        assert public["state"] == "ready"
        assert set(public) == {"id", "queue", "state", "enqueued_at", "run_at", "finished_at"}

        command = [sys.executable, "-c", WORK, told["job"]]
        done = subprocess.run(
            command, env=environ, cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True
        )
        assert done.stdout == "7 to a@b.c\n"
        whole = (await client.get(f"/outlast/jobs/{told['job']}", headers={"authorization": "right"})).json()
        assert whole["args"] == {"order_id": 7, "email": "a@b.c", "token": "[redacted]"}
        assert (whole["state"], whole["kind"], whole["attempt"]) == ("succeeded", "send_receipt", 1)
        assert (whole["result"], whole["progress"], whole["error"]) == ("7 to a@b.c", {"sent": 1}, None)
        assert "result" not in (await client.get(f"/outlast/jobs/{told['job']}")).json()
        assert (await client.get(f"/outlast/jobs/{told['job']}", headers={"authorization": "wrong"})).status_code == 401


def new_shop(**settings: Any) -> Outlast:
    shop = Outlast("shop", settings=Settings(url="memory:", **settings))

    @shop.job(queue="mail")
    async def send(number: int, text: str = "") -> int:
        if number < 0:
            raise ValueError("negative")
        return number

    return shop


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


class TestRoutes:
    @pytest.mark.parametrize("job_id", ["mail.none", "none", "mail.a/b"])
    def test_no_such_job(self, job_id: str) -> None:
        app = FastAPI()
        install(app, new_shop())
        with client_of(app) as client:
            answer = client.get(f"/outlast/jobs/{job_id}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
        assert answer.json() == {
            "type": "about:blank", "title": "Not Found", "status": 404, "code": "job-not-found",
            "detail": "no such job: it never existed here, or its record was removed",
        }  # fmt: skip

    def test_an_id_with_a_slash(self) -> None:
        app, shop = FastAPI(), new_shop()
        install(app, shop, prefix="/ops")
        with shop.testing(), client_of(app) as client:
            shop.send_sync([_message(shop, 1, id="a/b")])
            assert client.get("/ops/jobs/mail.a/b").json()["id"] == "mail.a/b"

    async def test_an_error_is_shown_to_the_allowed_only(self) -> None:
        app, shop = FastAPI(), new_shop()

        async def allow(request: Request) -> bool:
            return "key" in request.query_params

        install(app, shop, authorize=allow)
        with shop.testing() as t:
            handle = (await shop.enqueue_many([_message(shop, -1)]))[0]
            await t.drain()
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
                answer = await client.get(f"/outlast/jobs/{handle.id}?key=1")
                assert (answer.json()["error"], answer.json()["state"]) == ("ValueError: negative", "scheduled")
                assert answer.headers["cache-control"] == "no-store"
                assert "error" not in (await client.get(f"/outlast/jobs/{handle.id}")).json()

    async def test_a_coroutine_of_authorize_that_nothing_awaits_allows_nothing(self) -> None:
        async def allow() -> bool:
            return False

        for wrong in (lambda: allow(), lambda: asyncio.wrap_future(concurrent.futures.Future[bool]())):
            app, shop = FastAPI(), new_shop()
            install(app, shop, authorize=wrong)
            with shop.testing():
                handle = (await shop.enqueue_many([_message(shop, 1)]))[0]
                transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
                async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
                    answer = await client.get(f"/outlast/jobs/{handle.id}")
            assert answer.status_code == 500
            assert "args" not in answer.text

    def test_health(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = FastAPI()
        install(app, new_shop())

        async def away(self: MemoryStore, *_: object) -> None:
            raise StoreUnavailable("/srv/secret/path is locked")

        with client_of(app) as client:
            assert client.get("/outlast/health").json() == {"live": True, "ready": True}
            monkeypatch.setattr(MemoryStore, "get", away)
            answer = client.get("/outlast/health")
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["ready"]) == (503, "5", False)
        assert "secret" not in answer.text

    def test_the_schema(self) -> None:
        app = FastAPI()
        install(app, new_shop(), authorize=lambda: True)
        schema = app.openapi()
        job = schema["paths"]["/outlast/jobs/{job_id}"]["get"]
        assert job["operationId"] == "outlast_job"
        assert [parameter["name"] for parameter in job["parameters"]] == ["job_id"]
        assert list(job["responses"]["404"]["content"]) == [PROBLEM]
        assert job["responses"]["404"]["content"][PROBLEM]["schema"]["required"] == [
            "title",
            "status",
            "detail",
            "code",
        ]
        assert job["responses"]["503"]["headers"]["Retry-After"]["schema"] == {"type": "integer"}
        assert "200" in schema["paths"]["/outlast/health"]["get"]["responses"]
        view = schema["components"]["schemas"]["JobView"]
        assert {"id", "queue", "state", "enqueued_at", "run_at"} == set(view["required"])


def _message(shop: Outlast, number: int, **options: Any) -> Message:
    return shop.compose(shop.registry.declarations["send"], (number,), {}, Options(**options))


RAISED: list[tuple[Exception, int, str, str | None, dict[str, object]]] = [
    (QueueFull("mail", 1.2), 503, "queue-full", "2", {"queue": "mail", "retry_after": 2}),
    (QueueFull("mail", 1.2, "max_bytes"), 503, "queue-full", "2", {"bound": "max_bytes"}),
    (QueueFull("mail", 1.2, "per_key.max_depth"), 429, "queue-full", "2", {"bound": "per_key.max_depth"}),
    (QueueFull("mail", 0.0), 503, "queue-full", "1", {}),
    (QueueFull("mail", float("inf")), 503, "queue-full", "86400", {}),
    (EnqueueUnknown("mail.1", "no answer"), 503, "enqueue-unknown", None, {"job": "mail.1"}),
    (EnqueueUnknown("e1", "no answer", what="event"), 503, "enqueue-unknown", None, {"event": "e1"}),
    (
        EventIncomplete("orders", "e1", {"mail": QueueFull("mail", 1.2), "sms": QueueFull("sms", 7.5)}, None),
        503,
        "event-incomplete",
        "8",
        {
            "event": "e1",
            "retry_after": 8,
            "detail": "not every queue has taken the event: send it again with the same id",
        },
    ),
    (
        EventIncomplete("orders", "e1", {"mail": BodyTooLarge("send", 20, 10), "sms": QueueFull("sms", 7)}, None),
        413,
        "event-incomplete",
        None,
        {
            "event": "e1",
            "detail": "not every queue has taken the event: "
            "it is too large for one of them, so that sending it again does not help",
        },
    ),
    (EventUnroutable("orders", "secret", "e1"), 503, "event-unroutable", None, {"event": "e1"}),
    (StoreCorrupt("/srv/secret is no store"), 500, "store-corrupt", None, {}),
    (StoreError("/srv/secret was flushed"), 503, "store-failed", None, {}),
    (StoreMoved("/srv/secret was moved"), 503, "store-unavailable", "5", {}),
    (StoreUncertain("/srv/secret"), 503, "store-unavailable", "5", {}),
    (StoreUnavailable("/srv/secret"), 503, "store-unavailable", "5", {}),
    (StoreFull("/srv/secret"), 503, "store-full", "5", {}),
    (LockTimeout("secret", 3.0), 503, "lock-timeout", "1", {}),
    (ObjectNotFound("secret"), 404, "object-not-found", None, {}),
    (ObjectDamaged("secret", "secret"), 500, "object-damaged", None, {}),
    (LockLost("secret", 7, "secret"), 503, "lock-lost", None, {}),
    (InvalidArguments("send: number: missing"), 422, "invalid-arguments", None, {"detail": "send: number: missing"}),
    (
        BodyTooLarge("orders", 20, 10, what="event for exchange"),
        413,
        "body-too-large",
        None,
        {"detail": "the body has 20 bytes, more than the limit of 10"},
    ),
    (IdConflict("mail.3", "send", "other"), 409, "id-conflict", None, {"job": "mail.3"}),
    (UniqueConflict("key", "mail.2"), 409, "unique-conflict", None, {"job": "mail.2"}),
    (JobNotFound("mail.3"), 404, "job-not-found", None, {}),
    (ResultTimeout("mail.4", "running", 2), 504, "result-timeout", "1", {"job": "mail.4", "retry_after": 1}),
    (JobFailed("mail.5", "exhausted", "secret"), 500, "job-failed", None, {"job": "mail.5", "reason": "exhausted"}),
    (JobCancelled("mail.6"), 409, "job-cancelled", None, {"job": "mail.6"}),
    (JobExpired("mail.7"), 410, "job-expired", None, {"job": "mail.7"}),
]


FAULTS_OF_THE_CODE = {"ConfigurationError", "DuplicateKind", "UnsafeStore", "WireError", "WrongThread"}
"""They stay exceptions: the server logs them with their traceback, and no request can be repaired."""
BASES = {"OutlastError", "GuardError", "GuardRefused"}


class TestProblems:
    def test_every_error_has_an_answer(self) -> None:
        answered = handlers(503)
        left = {name for name in errors.__all__ if not any(each in answered for each in getattr(errors, name).__mro__)}
        assert left == FAULTS_OF_THE_CODE | BASES

    async def test_events_in_routes(self) -> None:
        app, shop = FastAPI(), new_shop()
        orders = shop.exchange("orders", type="direct")
        install(app, shop)

        @app.post("/{key}")
        async def publish(key: str, id: str, value: str = "") -> dict[str, str]:
            return {"event": (await orders.publish(key, {"n": 1}, id=id, headers={"note": value})).id}

        with shop.testing():
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
                unroutable = await client.post("/paid?id=e1")
                wrong = await client.post("/paid?id=e%201")
                long_key = await client.post(f"/{'secret' * 50}?id=e2")
                long_header = await client.post("/paid?id=e3", params={"id": "e3", "value": "secret" * 1500})
        assert (unroutable.status_code, unroutable.json()["event"]) == (503, "e1")
        assert "paid" not in unroutable.text
        for refused in (wrong, long_key, long_header):
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid-arguments")
            assert "secret" not in refused.text
        assert long_key.json()["detail"].endswith("give text of at most 255 bytes of UTF-8")
        assert "at most 7168 characters in all" in long_header.json()["detail"]

    async def test_options_of_an_enqueue_that_come_from_a_client(self) -> None:
        app, shop = FastAPI(), new_shop()
        install(app, shop)

        @shop.job
        async def kept() -> None: ...

        @app.post("/{name}")
        async def enqueue(name: str, value: str) -> str:
            given: Any = {name: {"note": value} if name == "headers" else value}
            return (await kept.with_options(**given).enqueue()).id

        with shop.testing():
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
                for name in ("key", "unique", "headers"):
                    refused = await client.post(f"/{name}", params={"value": "secret" * 1500})
                    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-arguments")
                    assert "characters: give" in refused.json()["detail"]
                    assert "secret" not in refused.text

    @pytest.mark.parametrize(
        ("error", "status", "code", "retry_after", "more"), RAISED, ids=lambda value: str(value)[:20]
    )
    def test_each_error(
        self, error: Exception, status: int, code: str, retry_after: str | None, more: dict[str, object]
    ) -> None:
        app = FastAPI()
        install(app, new_shop())

        @app.get("/")
        async def raises() -> None:
            raise error

        with client_of(app) as client:
            answer = client.get("/")
        told = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
        assert (told["status"], told["code"], told["type"]) == (status, code, "about:blank")
        assert answer.headers.get("retry-after") == retry_after
        assert more.items() <= told.items()
        assert "secret" not in answer.text

    def test_429_for_a_full_queue(self) -> None:
        app = FastAPI()
        install(app, new_shop(), full_status=429)

        @app.get("/")
        async def raises() -> None:
            raise QueueFull("mail", 3)

        with client_of(app) as client:
            answer = client.get("/")
        assert (answer.status_code, answer.json()["title"]) == (429, "Too Many Requests")

    def test_an_error_that_the_app_handles_is_left_to_it(self) -> None:
        app = FastAPI()

        @app.exception_handler(QueueFull)
        async def own(request: Request, error: QueueFull) -> JSONResponse:
            return JSONResponse({"own": error.queue}, 418)

        install(app, new_shop())

        @app.get("/")
        async def raises() -> None:
            raise QueueFull("mail", 3)

        with client_of(app) as client:
            assert client.get("/").json() == {"own": "mail"}


class TestLifespan:
    def test_it_joins_the_apps_own_and_keeps_its_state(self) -> None:
        steps: list[str] = []
        shop = new_shop()

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
            steps.append("start")
            await shop.enqueue_many([_message(shop, 1)])
            yield {"greeting": "hello"}
            steps.append("stop")
            await shop.enqueue_many([_message(shop, 2)])

        app = FastAPI(lifespan=lifespan)
        install(app, shop)

        @app.get("/")
        async def greet(request: Request) -> str:
            return str(request.state.greeting)

        with shop.testing() as t:
            with client_of(app) as client:
                assert client.get("/").json() == "hello"
            assert [each.args["number"] for each in t.enqueued()] == [1, 2]
        assert steps == ["start", "stop"]

    def test_it_opens_at_start_and_closes_at_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps: list[str] = []

        async def note(name: str) -> None:
            steps.append(name)

        monkeypatch.setattr(MemoryStore, "open", lambda self: note("open"))
        monkeypatch.setattr(MemoryStore, "close", lambda self: note("close"))
        app = FastAPI()
        install(app, new_shop())
        with client_of(app):
            assert steps == ["open"]
        assert steps == ["open", "close"]

    def test_a_store_that_is_away_at_start_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def away(self: MemoryStore) -> None:
            raise StoreUnavailable("locked")

        app = FastAPI()
        install(app, new_shop())
        with monkeypatch.context() as patch:
            patch.setattr(MemoryStore, "open", away)
            started = client_of(app)
            started.__enter__()
            assert started.get("/outlast/health").status_code == 503
        assert "cannot open the store of" in caplog.text
        assert "at start" in caplog.text
        assert started.get("/outlast/health").status_code == 200
        started.__exit__(None, None, None)

    def test_a_store_that_is_broken_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(self: MemoryStore) -> None:
            raise StoreCorrupt("not a store")

        monkeypatch.setattr(MemoryStore, "open", broken)
        app = FastAPI()
        install(app, new_shop())
        with pytest.raises(StoreCorrupt), TestClient(app):
            raise AssertionError("started")


class TestInstall:
    def test_the_same_shop_twice(self) -> None:
        app, shop = FastAPI(), new_shop()
        install(app, shop)
        with pytest.raises(ConfigurationError, match="is installed in this app at '/outlast' already"):
            install(app, shop, prefix="/other")

    def test_two_shops_need_two_prefixes(self) -> None:
        app = FastAPI()
        install(app, Outlast("one", settings=Settings(url="memory:")))
        two = Outlast("two", settings=Settings(url="memory:"))
        with pytest.raises(ConfigurationError, match=r"Outlast\('one'\) has prefix='/outlast' already"):
            install(app, two)
        with pytest.raises(ConfigurationError, match="an app has one status for full queues"):
            install(app, two, prefix="/two", full_status=429)
        install(app, two, prefix="/two")
        with client_of(app) as client:
            assert client.get("/outlast/health").status_code == client.get("/two/health").status_code == 200
        assert app.openapi()["paths"]["/two/health"]["get"]["operationId"] == "outlast_health_two"

    @pytest.mark.parametrize("wrong", [{"prefix": "ops"}, {"prefix": "/ops/"}, {"full_status": 500}])
    def test_wrong_options(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="install: "):
            install(FastAPI(), new_shop(), **wrong)

    def test_authorize_may_have_dependencies_of_its_own(self) -> None:
        def user() -> str:
            return "admin"

        def allow(name: str = Depends(user)) -> bool:
            return name == "admin"

        app, shop = FastAPI(), new_shop()
        install(app, shop, authorize=allow)
        with shop.testing(), client_of(app) as client:
            handle = shop.send_sync([_message(shop, 1)])[0]
            assert client.get(f"/outlast/jobs/{handle.id}").json()["args"] == {"number": 1}


async def test_a_job_that_waits_for_a_guard_says_so_to_the_allowed_only(tmp_path: Path) -> None:
    app, shop = FastAPI(), Outlast("shop", settings=Settings(url=f"sqlite:{tmp_path}/shop.db"))
    shop.queue("charges", needs=[shop.guard("payments", breaker=True)])

    @shop.job(queue="charges")
    async def charge() -> None: ...

    def allow(key: str = "") -> bool:
        return bool(key)

    install(app, shop, authorize=allow)
    async with shop, httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://shop") as client:
        handle = await charge.enqueue()
        address = f"/outlast/jobs/{handle.id}?key="
        assert (await client.get(f"{address}1")).json()["waits_for"] is None
        assert await command_guard((await shop.runtime()).store.guards, "payments", "open")
        why = (await client.get(f"{address}1")).json()["waits_for"]
        assert why.startswith("waits for payments: open for ")
        assert "waits_for" not in (await client.get(address)).json()
        await handle.cancel()
        assert (await client.get(f"{address}1")).json()["waits_for"] is None
