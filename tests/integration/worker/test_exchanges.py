"""Events through real stores and workers: each app runs its copies, also while handlers fail and publish themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from outlast import Context, Exponential, Outlast, Retry, Settings
from tests.support.polling import until
from tests.support.stores import namespace_of, redis_url
from tests.support.working import record, working


class Paid(BaseModel):
    order: int


def app_at(url: str, name: str) -> Outlast:
    return Outlast(name, settings=Settings(url=url, drain_grace=10.0))


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/jobs.db"
    return f"{redis_url()}?namespace={namespace_of(tmp_path)}"


async def test_two_apps_get_the_events_of_a_third(url: str) -> None:
    shop, billing, post = app_at(url, "shop"), app_at(url, "billing"), app_at(url, "post")
    orders = shop.exchange("orders")
    ran: list[Any] = []

    @billing.job(
        queue="invoices",
        on=billing.exchange("orders").binding("order.*.paid"),
        retry=Retry(attempts=3, backoff=Exponential(base=0.01)),
    )
    async def invoice(ctx: Context, paid: Paid) -> str:
        ran.append(("invoice", ctx.attempt, paid))
        if ctx.attempt < 2:
            raise ConnectionError("away")
        return f"invoice {paid.order} of {ctx.headers['outlast-event']}"

    @post.job(queue="mail", on=post.exchange("orders").binding("order.#"), retry=Retry(attempts=1))
    def send(paid: dict[str, int]) -> None:
        ran.append(("send", paid))
        raise ValueError("no address")

    async with billing, post, shop, working(billing), working(post):
        event = await orders.publish("order.eu.paid", Paid(order=7), id="e7")
        assert sorted(event.copies) == ["invoices", "mail"]
        done, dead = [await record(shop, event.copies[queue]) for queue in ("invoices", "mail")]
        assert (done.state, done.result, done.attempt) == ("succeeded", "invoice 7 of e7", 2)
        assert (dead.state, dead.reason) == ("dead", "attempts")
        assert sorted(each[0] for each in ran) == ["invoice", "invoice", "send"]
        again = await orders.publish("order.eu.paid", Paid(order=7), id="e7")
        assert not any(handle.created for handle in again.copies.values())


async def test_a_handler_publishes_once_however_often_it_runs(url: str) -> None:
    shop = app_at(url, "shop")
    orders = shop.exchange("orders", type="fanout")
    got: list[int] = []
    both = asyncio.Event()

    @shop.job(queue="pay", retry=Retry(attempts=3, backoff=Exponential(base=0.01)))
    async def pay(ctx: Context, order: int) -> None:
        await orders.publish("", order, id=ctx.id)
        if ctx.attempt < 3:
            raise ConnectionError("after the publish")
        both.set()

    @shop.job(queue="mail", on=orders.binding())
    async def thank(order: int) -> None:
        got.append(order)

    async with shop, working(shop):
        job = await pay.enqueue(7)
        assert (await record(shop, job)).attempt == 3

        async def ran() -> bool:
            return bool(got)

        await until(ran, "the copy ran")
        stats = (await (await shop.runtime()).store.broker.stats(["mail"]))["mail"]
        assert (got, stats.depth) == ([7], 0)
