"""The metrics of a service whose jobs RabbitMQ holds: the supervisor opens a connection for samples alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from outlast import Settings
from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect
from outlast.core.errors import StoreError
from outlast.observe.server import PageRequest
from outlast.supervisor.supervisor import Supervisor
from tests.support.apps.metered_app import app as declared
from tests.support.apps.metered_app import dies, quick
from tests.support.polling import until
from tests.support.scrapes import Scrape, judged
from tests.support.servers.proxy import proxied
from tests.support.servers.rabbitmq_server import RabbitServer
from tests.support.stage import declaring_alike

MAIL = {"app": "metered", "queue": "default"}


@asynccontextmanager
async def supervising(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Supervisor]:
    """Run a worker whose jobs this server holds within the block."""
    monkeypatch.setenv("OUTLAST_METERED_URL", url)
    supervisor, stop = Supervisor("tests.support.apps.metered_app:app", queues=["default"]), asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield supervisor
    finally:
        stop.set()
        await task


async def scraped(supervisor: Supervisor) -> Scrape:
    reply = await supervisor.health.pages["/metrics"](PageRequest("/metrics"))
    assert reply.status == 200
    return Scrape(reply.body.decode())


async def test_what_the_server_tells_is_shown_and_nothing_else_is_made_up(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = declaring_alike(declared, Settings(url=amqp_url, enqueue_timeout=60))
    await shop.send([quick.message(0.0) for _ in range(3)])  # of a queue that the worker does not consume
    async with supervising(amqp_url, monkeypatch) as supervisor:
        await shop.send([dies.message()])

        async def died() -> Scrape | None:
            found = await scraped(supervisor)
            dead, consumers = (found.value(f"outlast_queue_{each}", **MAIL) for each in ("dead", "consumers"))
            return found if dead == 1 and consumers == 1 else None

        found = await until(died, "the dead letter is shown")
        assert found.value("outlast_queue_jobs", **{**MAIL, "queue": "fast"}, state="ready") == 3
        assert found.value("outlast_queue_depth", **{**MAIL, "queue": "fast"}) == 3
        assert found.value("outlast_queue_consumers", **{**MAIL, "queue": "fast"}) == 0
        assert found.value("outlast_kind_runs_total", app="metered", kind="dies", outcome="dead") == 1
        unknown = ("oldest_seconds", "drain_rate", "drain_seconds", "paused")
        assert not {f"outlast_queue_{each}" for each in unknown} & found.names()
        assert {each["state"] for each in found.having("outlast_queue_jobs", **MAIL)} == {"ready"}
        assert "outlast_jobs_ended" not in found.names()
        assert judged(found.text) == ""
    await shop.close()


async def test_a_check_writes_no_error_into_the_log_of_the_server(rabbit: RabbitServer, amqp_url: str) -> None:
    def errors() -> int:
        return sum(each.read_text().count("Channel error") for each in (rabbit.folder / "log").glob("*.log"))

    store = connect(amqp_url, clock=SystemClock(), max_body=1000)
    await store.broker.open()
    before = errors()
    for _ in range(3):
        await store.check()
    await store.broker.stats(["there_is_none"])  # its error is written after those of the checks would be
    await until(lambda: errors() > before, "the error of a queue that is not there is written")
    assert errors() == before + 1
    await store.broker.close()
    with pytest.raises(StoreError):
        await store.check()


async def test_a_server_that_hangs_has_its_figures_as_soon_as_it_answers_again(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = urlsplit(amqp_url).port
    assert port is not None
    async with (
        proxied(port) as proxy,
        supervising(amqp_url.replace(f":{port}/", f":{proxy.port}/"), monkeypatch) as supervisor,
    ):

        async def up(wanted: int) -> bool:
            return (await scraped(supervisor)).value("outlast_store_up", app="metered") == wanted

        await until(lambda: up(1), "the server is sampled")
        proxy.deafen()
        await until(lambda: up(0), "its figures are gone")
        proxy.heal()
        proxy.reset()
        await until(lambda: up(1), "they are back")
        assert len(supervisor.pids) == 1
