"""The routes of probes and autoscalers in an API process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from outlast import Breaker, Outlast
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import StoreUnavailable
from outlast.fastapi import install
from tests.support.working import new_app


async def away(*_: Any) -> Any:
    raise StoreUnavailable("not reached, with a secret")


@pytest.fixture
def shop() -> Outlast:
    shop = new_app("memory:")
    shop.guard("payments", breaker=Breaker(minimum=1, window=1, open_for=3600))
    shop.guard("files", bulkhead=2)

    @shop.job(queue="mail")
    async def send(number: int) -> None: ...

    return shop


@pytest.fixture
def app(shop: Outlast) -> FastAPI:
    app = FastAPI()

    def allow(request: Request) -> bool:
        return "key" in request.query_params

    install(app, shop, authorize=allow)
    return app


def test_an_api_process_lives_has_started_and_is_ready_while_its_store_answers(app: FastAPI) -> None:
    with TestClient(app) as client:
        answers = {path: client.get(f"/outlast/{path}") for path in ("livez", "startupz", "readyz")}
    assert {path: (each.status_code, each.json()["state"]) for path, each in answers.items()} == {
        "livez": (200, "live"),
        "startupz": (200, "started"),
        "readyz": (200, "ready"),
    }
    assert {each.headers["cache-control"] for each in answers.values()} == {"no-store"}


def test_a_store_that_is_away_makes_it_unready_and_is_no_reason_to_restart(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(app) as client:
        monkeypatch.setattr(MemoryStore, "get", away)
        ready = client.get("/outlast/readyz")
        assert (ready.status_code, ready.json()["state"]) == (503, "unready")
        assert "secret" not in ready.text
        assert [client.get(f"/outlast/{path}").status_code for path in ("livez", "startupz")] == [200, 200]


def test_an_open_guard_is_counted_and_no_reason(app: FastAPI, shop: Outlast) -> None:
    guard: Any = shop.registry.guards["payments"]
    with TestClient(app) as client:
        guard.hold("open")
        ready = client.get("/outlast/readyz?verbose")
    assert ready.status_code == 200
    assert ready.json()["checks"] == [
        {"name": "broker", "ok": True, "text": "it answers"},
        {"name": "guards", "ok": False, "text": "1 of 2 open"},
    ]


def test_a_process_on_its_way_out_is_not_ready_and_lives(shop: Outlast) -> None:
    """While the lifespan ends, open connections are still served."""
    seen: dict[str, Any] = {}
    app = FastAPI()
    install(app, shop)
    inner = app.router.lifespan_context

    async def asks() -> None:
        client = TestClient(app)
        for path in ("readyz", "livez"):
            answer = await asyncio.to_thread(client.get, f"/outlast/{path}")
            seen[path] = (answer.status_code, answer.json()["state"])

    async def lives() -> None:
        async with inner(app):
            pass
        await asks()

    asyncio.run(lives())
    assert seen == {"readyz": (503, "draining"), "livez": (200, "draining")}


def test_an_autoscaler_needs_to_be_allowed(app: FastAPI, shop: Outlast) -> None:
    with TestClient(app) as client:
        refused = client.get("/outlast/autoscale?queue=mail")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        found = client.get("/outlast/autoscale?queue=mail&key=1")
        assert (found.status_code, found.json()["replicas"]) == (200, 0)
        assert client.get("/outlast/autoscale?key=1").status_code == 400
        assert client.get("/outlast/autoscale?queue=none&key=1").status_code == 404


def test_without_authorize_no_autoscaler_is_allowed(shop: Outlast) -> None:
    app = FastAPI()
    install(app, shop)
    with TestClient(app) as client:
        assert client.get("/outlast/autoscale?queue=mail").status_code == 403


def test_a_store_that_is_away_gives_an_autoscaler_no_number(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(app) as client:
        monkeypatch.setattr(MemoryStore, "stats", away)
        found = client.get("/outlast/autoscale?queue=mail&key=1")
    assert (found.status_code, found.json()) == (503, {"error": "the store does not answer"})
