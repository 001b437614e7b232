"""Events that handlers publish with ctx.publish: a run that is made again publishes the same ones, on every store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from outlast import Context, EventIncomplete, Exponential, Outlast, Retry, Settings
from outlast.core.exchanges.copies import event_of_job
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.servers.redis_cluster import shared_cluster
from tests.support.stores import namespace_of, redis_url
from tests.support.working import working

THRICE = Retry(attempts=3, backoff=Exponential(base=0.01))


class Paid(BaseModel):
    order: int


class Shop:
    """An app whose job `pay` publishes in each of its runs, and what the handlers of its events got, by event."""

    def __init__(self, **settings: Any) -> None:
        self.app = Outlast("shop", settings=Settings(drain_grace=10.0, **settings))
        self.orders = self.app.exchange("orders")
        self.got: Counter[str] = Counter()
        self.orders_got: list[int] = []

        @self.app.job(queue="mail", on=self.orders.binding("#"))
        async def thank(ctx: Context, paid: Paid) -> None:
            self.got[ctx.headers["outlast-event"]] += 1
            self.orders_got.append(paid.order)

    async def arrived(self, number: int) -> None:
        """Wait until so many events have run."""

        async def enough() -> bool:
            return len(self.orders_got) >= number

        await until(enough, f"{number} events ran")

    async def drained(self) -> None:
        """Wait until no job is left."""

        async def empty() -> bool:
            found = await (await self.app.runtime()).store.broker.stats(["mail", "pay"])
            return not any(each.depth for each in found.values())

        await until(empty, "the queues are empty")


@pytest.fixture(params=["memory", "sqlite", "redis", "cluster", "bridge"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of each store that knows the ids of its jobs."""
    match request.param:
        case "memory":
            yield {"url": "memory:"}
        case "redis":
            yield {"url": f"{redis_url()}?namespace={namespace_of(tmp_path)}"}
        case "cluster":
            yield {"url": f"{shared_cluster()}?namespace={namespace_of(tmp_path)}"}
        case "bridge":
            rabbit = shared_rabbit()
            with rabbit.vhost() as vhost:
                yield {"url": f"sqlite:{tmp_path}/jobs.db", "amqp_url": rabbit.url_of(vhost)}
        case _:
            yield {"url": f"sqlite:{tmp_path}/jobs.db"}


async def test_a_run_that_is_made_again_publishes_the_same_events(settings: dict[str, str]) -> None:
    shop = Shop(**settings)
    runs: list[int] = []

    @shop.app.job(queue="pay", retry=THRICE)
    async def pay(ctx: Context, order: int) -> None:
        runs.append(ctx.attempt)
        published = [await ctx.publish(shop.orders, "paid", Paid(order=order + number)) for number in range(2)]
        published += await asyncio.gather(*(ctx.publish(shop.orders, "sent", Paid(order=order)) for _ in range(2)))
        published.append(await ctx.publish(shop.orders, "sent", Paid(order=order), id=f"own-{order}"))
        assert len({each.id for each in published}) == 5
        if ctx.attempt < 3:
            raise ConnectionError("after the publish")

    async with shop.app, working(shop.app):
        first, second = await pay.enqueue(10), await pay.enqueue(20)
        await shop.arrived(10)
        await shop.drained()
    assert sorted(runs) == [1, 1, 2, 2, 3, 3]
    derived = {
        event_of_job(job.id, "orders", key, number)
        for job in (first, second)
        for key in ("paid", "sent")
        for number in range(2)
    }
    assert shop.got == dict.fromkeys((*derived, "own-10", "own-20"), 1)
    assert sorted(shop.orders_got) == [10, 10, 10, 10, 11, 20, 20, 20, 20, 21]


async def test_a_transport_gets_the_events_of_each_run(tmp_path: Path) -> None:
    rabbit = shared_rabbit()
    with rabbit.vhost() as vhost:
        shop = Shop(url=rabbit.url_of(vhost))

        @shop.app.job(queue="pay")
        async def pay(ctx: Context, order: int) -> None:
            await ctx.publish(shop.orders, "paid", Paid(order=order))

        async with shop.app, working(shop.app):
            job = await pay.enqueue(7)
            await shop.arrived(1)
    assert (shop.got, shop.orders_got) == ({event_of_job(job.id, "orders", "paid", 0): 1}, [7])


async def test_a_plain_function_publishes_from_its_thread(tmp_path: Path) -> None:
    shop = Shop(url=f"sqlite:{tmp_path}/jobs.db")

    @shop.app.job(queue="pay", retry=THRICE)
    def pay(ctx: Context, order: int) -> None:
        ctx.publish_sync(shop.orders, "paid", Paid(order=order))
        if ctx.attempt < 2:
            raise ConnectionError("after the publish")

    async with shop.app, working(shop.app):
        job = await pay.enqueue(7)
        await shop.arrived(1)
        await shop.drained()
    assert shop.got == {event_of_job(job.id, "orders", "paid", 0): 1}


async def test_an_event_that_is_incomplete_keeps_its_id_until_it_is_complete() -> None:
    shop = Shop(url="memory:")
    shop.app.queue("narrow", max_depth=1)
    ids: list[str] = []

    @shop.app.job(queue="narrow", on=shop.orders.binding("#"))
    async def count(paid: Paid) -> None: ...

    @shop.app.job(queue="pay", retry=Retry(attempts=1))
    async def pay(ctx: Context) -> None:
        ids.append((await ctx.publish(shop.orders, "paid", Paid(order=1))).id)
        for _ in range(2):
            with pytest.raises(EventIncomplete) as caught:
                await ctx.publish(shop.orders, "paid", Paid(order=2))
            ids.append(caught.value.id)

    with shop.app.testing() as t:
        job = await pay.enqueue()
        await t.drain()
    assert ids == [event_of_job(job.id, "orders", "paid", number) for number in (0, 1, 1)]


class Key(str, Enum):  # noqa: UP042 - StrEnum has another format
    """Keys, of which `format` shows the name."""

    PAID = "paid"


async def test_a_key_that_is_an_enum_gives_the_id_of_its_text() -> None:
    shop = Shop(url="memory:")

    @shop.app.job(queue="pay")
    async def pay(ctx: Context) -> list[str]:
        return [(await ctx.publish(shop.orders, key, Paid(order=1))).id for key in (Key.PAID, "paid")]

    with shop.app.testing() as t:
        job = await pay.enqueue()
        await t.drain()
        assert await job.result(0) == [event_of_job(job.id, "orders", "paid", number) for number in (0, 1)]


async def test_a_direct_call_publishes_each_time() -> None:
    shop = Shop(url="memory:")

    @shop.app.job(queue="pay")
    async def pay(ctx: Context) -> None:
        await ctx.publish(shop.orders, "paid", Paid(order=1))

    with shop.app.testing() as t:
        await pay()
        await pay()
        await t.drain()
    assert len(shop.got) == 2
