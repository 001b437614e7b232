"""`install(app, shop, metrics=True)` as Prometheus meets it: what it shows, to whom, and while the store is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Header, HTTPException, WebSocket
from fastapi.testclient import TestClient

from outlast import ConfigurationError, Outlast, Settings
from outlast.fastapi import Metrics, Shed, install
from tests.support.polling import until
from tests.support.scrapes import Scrape, judged, parse_openmetrics
from tests.support.served import Served, serving
from tests.support.servers.proxy import proxied
from tests.support.servers.redis_fleet import node

ELSEWHERE = ("203.0.113.9", 5000)


def new_shop(url: str, name: str = "shop") -> Outlast:
    shop = Outlast(name, settings=Settings(url=url))

    @shop.job(queue="mail")
    async def send(number: int) -> None: ...

    shop.queue("mail", max_depth=100)
    return shop


def new_app(shop: Outlast, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, shop, **{"metrics": True, **options})

    @app.post("/orders/{number}", status_code=202)
    async def order(number: int) -> str:
        if number == 13:
            raise ValueError("as it does")
        return "sent"

    return app


async def scraped(served: Served, path: str = "/metrics") -> Scrape:
    answer = await served.get(path)
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    return Scrape(answer.body.decode())


async def test_the_queues_of_the_app_and_its_requests_are_shown(tmp_path: Path) -> None:
    shop = new_shop(f"sqlite:{tmp_path}/jobs.db")

    @shop.job(queue="mail")
    async def remind(number: int) -> None: ...

    async with serving(new_app(shop)) as served:
        await shop.enqueue_many(remind.message(number) for number in range(3))
        client = await served.client()
        client.begin("/orders/7", method="POST")
        assert (await client.answer()).status == 202
        found = await scraped(served)
        mail = {"app": "shop", "queue": "mail"}
        assert found.value("outlast_queue_jobs", **mail, state="ready") == 3
        assert found.value("outlast_queue_depth", **mail) == 3
        assert found.value("outlast_queue_max_depth", **mail) == 100
        assert found.value("outlast_store_up", app="shop") == 1
        assert found.value("outlast_process_figures") == 1
        used, limit = (found.value(f"outlast_store_{each}_bytes", app="shop") for each in ("used", "limit"))
        assert 0 < (used or 0) < (limit or 0)
        of_route = {"method": "POST", "route": "/orders/{number}", "status": "2xx"}
        assert (found.value("outlast_http_request_seconds_count", **of_route) or 0) >= 1
        assert judged(found.text) == ""


def test_memory_and_cpu_of_an_api_without_a_worker_are_shown() -> None:
    with TestClient(new_app(new_shop("memory:")), client=("127.0.0.1", 5000)) as client:
        before = Scrape(client.get("/metrics").text)
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        after = Scrape(client.get("/metrics").text)
    assert (after.value("outlast_process_resident_bytes") or 0) > 1 << 20
    cpu = [each.value("outlast_process_cpu_seconds_total") or 0 for each in (before, after)]
    assert 0.02 <= cpu[1] - cpu[0] <= time.process_time()


async def test_openmetrics_when_it_is_asked_for(tmp_path: Path) -> None:
    async with serving(new_app(new_shop(f"sqlite:{tmp_path}/jobs.db"))) as served:
        answer = await served.get("/metrics", "accept: application/openmetrics-text;version=1.0.0")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        names = {family.name for family in parse_openmetrics(answer.body.decode())}
        assert {"outlast_queue_jobs", "outlast_http_request_seconds"} <= names


def test_clients_of_other_machines_are_refused_and_the_log_tells_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(new_app(new_shop("memory:")), client=ELSEWHERE)
    answers = [client.get("/metrics") for _ in range(3)]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(403, "metrics-refused")] * 3
    told = [each.getMessage() for each in caplog.records if each.name == "outlast.fastapi"]
    assert len(told) == 1
    assert "'203.0.113.9'" in told[0]
    assert "Metrics(allow=...)" in told[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_clients_of_this_machine_are_answered(host: str) -> None:
    assert TestClient(new_app(new_shop("memory:")), client=(host, 5000)).get("/metrics").status_code == 200


@pytest.mark.parametrize("host", ["", "testclient", "0.0.0.0", "::", "::ffff:10.0.0.1", "10.0.0.1", "localhost"])
def test_an_address_that_is_none_of_this_machine_is_refused(host: str) -> None:
    assert TestClient(new_app(new_shop("memory:")), client=(host, 5000)).get("/metrics").status_code == 403


def test_a_dependency_decides_who_may_read_them() -> None:
    async def with_token(x_token: str = Header("")) -> bool:
        if x_token == "wrong":
            raise HTTPException(401, "who are you?")
        return x_token == "right"

    options = Metrics(path="/internal/metrics", allow=with_token)
    client = TestClient(new_app(new_shop("memory:"), metrics=options), client=ELSEWHERE)
    statuses = {
        token: client.get("/internal/metrics", headers={"x-token": token}).status_code
        for token in ("right", "wrong", "none")
    }
    assert statuses == {"right": 200, "wrong": 401, "none": 403}
    assert client.get("/metrics").status_code == 404


def test_a_dependency_that_is_not_awaited_is_refused() -> None:
    async def with_token() -> bool:
        return False

    app = new_app(new_shop("memory:"), metrics=Metrics(allow=lambda: with_token()))
    with pytest.raises(ConfigurationError, match=r"Metrics\(allow=.*give an 'async def'"):
        TestClient(app).get("/metrics")


def test_the_route_is_not_in_the_schema_of_the_app() -> None:
    assert "/metrics" not in new_app(new_shop("memory:")).openapi()["paths"]


def test_two_shops_of_one_app_are_shown_together() -> None:
    one, other = new_shop("memory:", "one"), new_shop("memory:", "other")
    app = FastAPI()
    install(app, one, metrics=True)
    install(app, other, prefix="/other", metrics=True)
    with TestClient(app, client=("127.0.0.1", 1)) as client:
        found = Scrape(client.get("/metrics").text)
    assert {each["app"] for each in found.having("outlast_queue_depth")} == {"one", "other"}
    assert judged(found.text) == ""


def test_a_request_to_an_app_that_is_mounted_in_another_counts_once() -> None:
    outer, inner = new_app(new_shop("memory:", "outer")), new_app(new_shop("memory:", "inner"))
    outer.mount("/inner/{tenant}", inner)

    def counts(client: TestClient) -> dict[str, float]:
        found = Scrape(client.get("/metrics").text)
        routes = ("/orders/{number}", "/inner/{tenant}/orders/{number}")
        of = {"method": "POST", "status": "2xx"}
        return {each: found.value("outlast_http_request_seconds_count", route=each, **of) or 0 for each in routes}

    with TestClient(outer, client=("127.0.0.1", 5000)) as client:
        before = counts(client)
        assert client.post("/inner/a/orders/7").status_code == 202
        after = counts(client)
    assert [after[each] - before[each] for each in after] == [0, 1]


def test_a_shop_without_metrics_has_none() -> None:
    app = FastAPI()
    install(app, new_shop("memory:", "one"), metrics=True)
    install(app, new_shop("memory:", "other"), prefix="/other")
    with TestClient(app, client=("127.0.0.1", 1)) as client:
        found = Scrape(client.get("/metrics").text)
    assert {each["app"] for each in found.having("outlast_queue_depth")} == {"one"}


@pytest.mark.parametrize("wrong", [None, "yes", 1, "/metrics", {"path": "/metrics"}])
def test_what_is_no_option_is_refused(wrong: Any) -> None:
    app = FastAPI()
    with pytest.raises(ConfigurationError, match=r"install\(metrics=.*Metrics\(allow="):
        install(app, new_shop("memory:"), metrics=wrong)
    install(app, new_shop("memory:"))  # nothing of the refused one is left


def test_options_that_contradict_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Metrics\(path='metrics'\)"):
        Metrics(path="metrics")
    with pytest.raises(ConfigurationError, match="without parameters"):
        Metrics(path="/{tenant}/metrics")
    with pytest.raises(ConfigurationError, match="give a FastAPI dependency"):
        Metrics(allow=True)  # type: ignore[arg-type]
    app = FastAPI()
    install(app, new_shop("memory:", "one"), metrics=True)
    with pytest.raises(ConfigurationError, match="give the same"):
        install(app, new_shop("memory:", "other"), prefix="/other", metrics=Metrics(path="/figures"))


def test_a_path_that_is_taken_is_refused() -> None:
    app = FastAPI()

    @app.get("/{page:path}")
    async def anything(page: str) -> str:
        return page

    with pytest.raises(ConfigurationError, match=r"a route '/\{page\}' for '/metrics' already"):
        install(app, new_shop("memory:"), metrics=True)


def test_a_path_of_web_sockets_is_not_taken() -> None:
    app = FastAPI()

    @app.websocket("/{name}")
    async def live(socket: WebSocket, name: str) -> None: ...

    install(app, new_shop("memory:"), metrics=True)
    with TestClient(app, client=("127.0.0.1", 1)) as client:
        assert client.get("/metrics").status_code == 200


def test_a_failing_request_counts_as_5xx() -> None:
    client = TestClient(new_app(new_shop("memory:")), client=("127.0.0.1", 1), raise_server_exceptions=False)
    labels = {"method": "POST", "route": "/orders/{number}", "status": "5xx"}
    before = Scrape(client.get("/metrics").text).value("outlast_http_request_seconds_count", **labels) or 0
    assert client.post("/orders/13").status_code == 500
    assert Scrape(client.get("/metrics").text).value("outlast_http_request_seconds_count", **labels) == before + 1


async def test_what_the_load_shedder_refuses_is_counted_with_its_route() -> None:
    app, began, ends = new_app(new_shop("memory:"), shed=Shed(max_in_flight=1)), asyncio.Event(), asyncio.Event()

    @app.get("/held")
    async def held() -> None:
        began.set()
        await ends.wait()

    async with serving(app) as served:
        first = await served.client()
        first.begin("/held")
        await began.wait()
        assert (await served.get("/held")).status == 503
        ends.set()
        await first.answer()
        found = await scraped(served)
    of_route = {"method": "GET", "route": "/held"}
    counts = [found.value("outlast_http_request_seconds_count", **of_route, status=each) for each in ("2xx", "5xx")]
    assert counts == [1, 1]


@asynccontextmanager
async def on_a_server(folder: Path) -> AsyncIterator[tuple[Served, Any]]:
    with node(folder / "redis") as server:
        async with proxied(server.port) as proxy:
            url = f"redis://127.0.0.1:{proxy.port}/0?timeout=1"
            async with serving(new_app(new_shop(url))) as served:
                yield served, proxy


async def test_the_figures_of_a_store_that_is_away_are_gone_at_the_next_scrape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "outlast.observe")
    async with on_a_server(tmp_path) as (served, proxy):
        assert (await scraped(served)).value("outlast_queue_depth", app="shop", queue="mail") == 0
        proxy.faults.refuse = True
        proxy.reset()
        found = await away(served)
        assert {name for name in found.names() if name.startswith(("outlast_queue", "outlast_jobs"))} == set()
        assert found.having("outlast_http_request_seconds_count", route="/metrics")
        assert judged(found.text) == ""
        proxy.heal()
        await back(served)
    told = [each.levelname for each in caplog.records if each.name == "outlast.observe"]
    assert told == ["WARNING", "INFO"]


async def test_a_store_that_hangs_lets_the_scrape_go_on(tmp_path: Path) -> None:
    async with on_a_server(tmp_path) as (served, proxy):
        assert (await scraped(served)).value("outlast_store_up", app="shop") == 1
        proxy.deafen()
        found = await away(served)
        assert found.having("outlast_http_request_seconds_count", route="/metrics")
        proxy.heal()
        proxy.reset()
        await back(served)


async def away(served: Served) -> Scrape:
    """Scrape until one has looked at the store: those of the same second share a look."""
    found: list[Scrape] = []

    async def told() -> bool:
        found.append(await scraped(served))
        return found[-1].value("outlast_store_up", app="shop") == 0

    await until(told, "a scrape tells that the store is away")
    return found[-1]


async def back(served: Served) -> None:
    async def told() -> bool:
        return (await scraped(served)).value("outlast_queue_depth", app="shop", queue="mail") is not None

    await until(told, "the figures are back")


def test_series_are_bounded_with_50_kinds_on_10_queues(tmp_path: Path) -> None:
    shop = Outlast("shop", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db"))
    for number in range(50):

        async def handler(n: int) -> None: ...

        shop.job(queue=f"queue{number % 10}", kind=f"kind{number}")(handler)
    with TestClient(new_app(shop), client=("127.0.0.1", 1)) as client:
        found = Scrape(client.get("/metrics").text)
    assert len(found.having("outlast_queue_depth")) == 10
    own = [name for name, _ in found.samples if not name.startswith("outlast_http")]
    assert len(own) <= 2000
    assert judged(found.text) == ""
