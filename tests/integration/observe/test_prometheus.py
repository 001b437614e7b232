"""A real Prometheus scrapes what a worker shows: the rules fire, and every query of every panel has an answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

import httpx2
import pytest

from outlast.demo.processes import DemoProcess
from outlast.demo.run_files import free_ports
from outlast.observe.promql import INTERVAL
from outlast.observe.rules import rules_text
from tests.support.command import ROOT
from tests.support.exposition import Exposition, exposed
from tests.support.polling import until
from tests.support.promtool import promtool
from tests.support.servers.prometheus_server import PrometheusServer
from tests.support.shipped_queries import rule_expressions, unanswered

DEAD_TOTAL = 'outlast_jobs_ended_total{app="shop",queue="mail",kind="send",outcome="dead"}'
DEAD_HELD = 'outlast_queue_dead{app="shop",queue="mail"}'
KILLED = 'outlast_worker_exits_total{app="shop",how="killed"}'
APP = "tests.support.apps.seen_app"
WITHOUT = {
    "outlast_spooled_total": "the spool is for stores on servers: this app is on a file",
    "outlast_reconnects_total": "a file has no connection that could be lost",
}
"""The metrics that the app of `service` cannot have, and why."""


@dataclass(frozen=True)
class Service:
    """A worker and an API that run. client: of the API."""

    prometheus: PrometheusServer
    client: httpx2.AsyncClient


def quick_rules(folder: Path) -> Path:
    """Return the shipped rules, evaluated four times a second and not every 30 s."""
    text = rules_text()
    assert f"interval: {INTERVAL}s\n" in text
    file = folder / "outlast.rules.yml"
    file.write_text(text.replace(f"interval: {INTERVAL}s\n", "interval: 250ms\n"), encoding="utf-8")
    return file


@pytest.fixture
def worker() -> Iterator[Exposition]:
    """What is scraped."""
    with exposed(Exposition()) as shown:
        yield shown


@pytest.fixture
def prometheus(worker: Exposition, tmp_path: Path) -> Iterator[PrometheusServer]:
    """A server with the shipped rules that scrapes the worker."""
    server = PrometheusServer(tmp_path, rules=[quick_rules(tmp_path)])
    server.scrape(worker.address)
    server.start()
    yield server
    server.stop()


def fires(prometheus: PrometheusServer) -> list[str]:
    return sorted(each["labels"]["alertname"] for each in prometheus.alerts())


def test_what_is_scraped_is_an_exposition() -> None:
    promtool("check", "metrics", text=Exposition().text())


async def test_every_query_has_an_answer(prometheus: PrometheusServer, worker: Exposition) -> None:
    """Those of the alerts are empty while all is well; what matters is that the server takes them."""
    await until(lambda: len(prometheus.query("outlast:queue_late:ratio_3d")) == 2, "recorded series of two queues")
    await until(lambda: prometheus.numbers("sum(rate(outlast_enqueued_total[10s]))") > [0], "a counter that has grown")
    assert prometheus.rule_faults() == {}
    for expr in rule_expressions().values():
        prometheus.query(expr)
    assert unanswered(prometheus) == []
    assert fires(prometheus) == []


def test_a_wrong_query_would_be_told(prometheus: PrometheusServer) -> None:
    with pytest.raises(RuntimeError, match="parse error"):
        prometheus.query("sum(outlast_queue_depth")


async def test_each_dead_letter_fires_also_after_a_restart(prometheus: PrometheusServer, worker: Exposition) -> None:
    await until(lambda: prometheus.numbers("outlast:queue_dead:total") == [0, 0], "the totals at 0")
    worker.values |= {DEAD_TOTAL: 1, DEAD_HELD: 1}
    await until(lambda: fires(prometheus) == ["OutlastDeadLetters"], "the first dead letter")
    [alert] = prometheus.alerts()
    assert alert["labels"] == {"alertname": "OutlastDeadLetters", "severity": "ticket", "app": "shop", "queue": "mail"}
    assert alert["annotations"]["action"].endswith("outlast dead queue:mail")
    assert alert["annotations"]["link"].startswith(f"{prometheus.url}/graph?g0.expr=outlast%3Aqueue_dead%3Atotal%7B")
    worker.values[DEAD_HELD] = 0  # it was redriven
    await until(lambda: fires(prometheus) == [], "an end of the alert")
    with ExitStack() as stack:
        again = Exposition()
        again.values |= worker.values
        stack.enter_context(exposed(again))
        prometheus.scrape(again.address)
        await until(
            lambda: [each["metric"]["instance"] for each in prometheus.query(DEAD_TOTAL)] == [again.address],
            "the new process alone",
        )
        assert fires(prometheus) == []
        again.values |= {DEAD_TOTAL: 2, DEAD_HELD: 1}
        await until(lambda: fires(prometheus) == ["OutlastDeadLetters"], "the second dead letter")
        again.values[DEAD_HELD] = 0
        await until(lambda: fires(prometheus) == [], "an end of the alert")


async def test_one_kill_fires_one_alert(prometheus: PrometheusServer, worker: Exposition) -> None:
    await until(lambda: prometheus.numbers(KILLED) == [0], "no kill")
    assert fires(prometheus) == []
    worker.values[KILLED] = 1
    await until(lambda: fires(prometheus), "an alert")
    assert [(each["labels"]["alertname"], each["labels"]["how"]) for each in prometheus.alerts()] == [
        ("OutlastWorkerDied", "killed")
    ]


async def test_a_worker_that_is_gone_leaves_no_figures(prometheus: PrometheusServer) -> None:
    """Its series end with the scrape that fails: no gauge goes on showing the last value."""
    with exposed(Exposition()) as other:
        other.values['outlast_queue_depth{app="shop",queue="mail"}'] = 7
        prometheus.scrape(other.address)
        await until(lambda: prometheus.numbers("max(outlast_queue_depth)") == [7], "its figures")
    await until(lambda: prometheus.query("outlast_queue_depth") == [], "their end")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """`outlast worker --listen` and an API of one app, scraped by a server with the shipped rules."""
    async with AsyncExitStack() as stack:
        prometheus = PrometheusServer(tmp_path / "prometheus", rules=[quick_rules(tmp_path)])
        stack.callback(prometheus.stop)
        prometheus.start()
        ports = free_ports(2, Random())
        environ = {"SEEN_URL": f"sqlite:{tmp_path}/jobs.db", "PYTHONPATH": str(ROOT)}
        for port, command in zip(
            ports,
            (
                ["outlast", "worker", f"{APP}:shop", "--processes", "2", "--listen", str(ports[0])],
                ["uvicorn", f"{APP}:api", "--port", str(ports[1])],
            ),
            strict=True,
        ):
            process = DemoProcess(command[0], command, tmp_path, environ)
            stack.push_async_callback(process.stop)
            await process.start(port=port, deadline=120)
        prometheus.scrape(*(f"127.0.0.1:{port}" for port in ports))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports[1]}", timeout=60)
        )
        yield Service(prometheus, client)


async def test_every_panel_of_a_real_worker_has_an_answer(service: Service) -> None:
    """Each part of the app is used while the server scrapes; what it cannot have is in WITHOUT."""
    orders = count()

    async def those_only() -> bool:
        number = next(orders)
        answer = await service.client.post(f"/orders/t{number % 3}", headers={"Idempotency-Key": f'"order-{number}"'})
        answer.raise_for_status()
        return {re.findall("outlast[a-z_:]+", each)[0] for each in unanswered(service.prometheus)} == set(WITHOUT)

    await until(those_only, "an answer to every query of a panel", within=120)
    assert service.prometheus.rule_faults() == {}
    assert {each["labels"]["alertname"] for each in service.prometheus.alerts()} <= {"OutlastDeadLetters"}
