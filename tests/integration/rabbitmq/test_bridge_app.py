"""An app whose events RabbitMQ routes, with a worker: from the publish to the result."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest

from outlast import (
    ConfigurationError,
    Context,
    EnqueueUnknown,
    EventUnroutable,
    JobEnqueued,
    Outlast,
    Redacted,
    StoreUnavailable,
)
from outlast.core.events import Event
from outlast.core.exchanges.copies import copy_id
from outlast.settings import Settings
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import Alarm, RabbitServer
from tests.support.working import new_app, record, working


class Shop:
    """An app with the exchange "orders", and what its observers were told."""

    def __init__(self, folder: Path, amqp_url: str, **settings: Any) -> None:
        self.app = new_app(f"sqlite:{folder}/jobs.db", amqp_url=amqp_url, **settings)
        self.orders = self.app.exchange("orders")
        self.told: list[Event] = []
        self.app.observe(self.told.append)

        @self.app.job(queue="billing", on=self.orders.binding("order.#"), priority="high")
        async def bill(ctx: Context, order: Annotated[dict[str, Any], Redacted]) -> str:
            return f"{order['id']} of {ctx.headers.get('outlast-key', 'no event')}"

        self.bill = bill


async def test_an_event_runs_as_a_job_of_the_store(tmp_path: Path, amqp_url: str) -> None:
    shop = Shop(tmp_path, amqp_url)
    async with shop.app, working(shop.app):
        published = await shop.orders.publish("order.paid", {"id": 7}, id="7")
        assert (published.native, published.copies, published.kept) == (True, {}, False)
        found = await record(shop.app, await moved(shop, "7"))
        assert (found.state, found.result, found.priority) == ("succeeded", "7 of order.paid", "high")
        assert found.args == {"order": "[redacted]"}
        with pytest.raises(EventUnroutable):
            await shop.orders.publish("lost", {"id": 8})
    ids = [each.id for each in shop.told if isinstance(each, JobEnqueued)]
    assert ids == [copy_id("orders", "7", "billing")]


async def test_a_file_of_tls_that_cannot_be_used_is_told_with_the_setting(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "amqps://u:secret@127.0.0.1:1?ca=/etc/hosts")
    with pytest.raises(
        ConfigurationError, match=r"^amqp_url \(Settings or OUTLAST_AMQP_URL\): \?ca=/etc/hosts: .* PEM"
    ):
        async with shop.app:
            await shop.orders.publish("order.paid", {"id": 7})


async def moved(shop: Shop, event: str) -> str:
    """Return the id of the copy of an event when the store has it."""
    wanted = copy_id("orders", event, "billing")
    store = (await shop.app.runtime()).store

    async def known() -> bool:
        return (await store.records.get([wanted]))[0] is not None

    await until(known, f"the store has the copy of event {event}")
    return wanted


@pytest.mark.parametrize("low_on", ["memory", "disk"])
async def test_a_publish_ends_in_time_during_an_alarm_and_may_be_repeated(
    tmp_path: Path, amqp_url: str, rabbit: RabbitServer, low_on: Alarm
) -> None:
    shop = Shop(tmp_path, amqp_url, enqueue_timeout=1.0)
    async with shop.app:
        await shop.orders.publish("order.paid", {"id": 1}, id="1")
        with rabbit.alarm(low_on):
            for id in ("2", "3"):
                with pytest.raises(EnqueueUnknown) as refused:
                    await shop.orders.publish("order.paid", {"id": int(id)}, id=id)
                assert refused.value.id == id
            async with working(shop.app):  # what is there is taken all the same
                await record(shop.app, await moved(shop, "1"))
        for id in ("2", "3"):
            await shop.orders.publish("order.paid", {"id": int(id)}, id=id)
        async with working(shop.app):
            for id in ("2", "3"):
                await record(shop.app, await moved(shop, id))


async def test_the_harness_of_tests_needs_no_server(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "amqp://guest:guest@127.0.0.1:1/")
    with shop.app.testing() as t:
        await shop.orders.publish("order.paid", {"id": 7})
        assert [each.state for each in await t.drain()] == ["succeeded"]


async def test_jobs_run_while_rabbitmq_is_away(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "amqp://guest:guest@127.0.0.1:1/")
    async with shop.app, working(shop.app):
        job = await shop.bill.enqueue({"id": 9})
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
            await shop.orders.publish("order.paid", {"id": 7})
        assert (await record(shop.app, job)).state == "succeeded"


def test_a_wrong_url_is_refused_when_the_app_opens() -> None:
    app = Outlast("shop", settings=Settings(url="memory:", amqp_url="http://rabbit"))

    async def open_it() -> None:
        async with app:
            pass

    with pytest.raises(ConfigurationError, match=r"amqp_url \(Settings or OUTLAST_AMQP_URL\): the scheme is none of"):
        asyncio.run(open_it())


def test_an_app_without_a_close_works_in_the_next_loop(tmp_path: Path, amqp_url: str) -> None:
    shop = Shop(tmp_path, amqp_url)

    async def publish(id: str) -> None:
        await shop.orders.publish("order.paid", {"id": id}, id=id)

    for id in ("1", "2"):
        asyncio.run(publish(id))
    shop.orders.publish_sync("order.paid", {"id": 3}, id="3")

    async def work() -> list[str]:
        async with shop.app, working(shop.app):
            return [(await record(shop.app, await moved(shop, id))).state for id in ("1", "2", "3")]

    assert asyncio.run(work()) == ["succeeded"] * 3
