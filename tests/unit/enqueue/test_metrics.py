"""What is counted of enqueues is what became of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from outlast import (
    EnqueueUnknown,
    IdConflict,
    JobRefused,
    Outlast,
    QueueFull,
    Settings,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from outlast.core.errors import StoreUncertain
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, TooLarge
from outlast.enqueue.spool import Spool
from outlast.enqueue.spool_file import SpoolFile
from outlast.meters import meters
from tests.support.counts import Counted, counting, value_of
from tests.support.polling import until

ENQUEUED, REFUSED = "outlast_enqueued_total", "outlast_refused_total"


class Shop:
    """An app with two jobs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.app = Outlast(name, settings=Settings(url="memory:"))
        self.app.queue("mail", max_depth=3)

        @self.app.job(queue="mail")
        async def send(n: int) -> None: ...

        @self.app.job(queue="pdf", version=2, upgrades={1: lambda args: args})
        async def render(n: int) -> None: ...

        self.send, self.render = send, render


@pytest.fixture
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    shop = Shop(re.sub(r"\W", "_", request.node.name))
    async with shop.app:
        yield shop


def changed(message: Message, **fields: str) -> Message:
    """Return a message as another program may send it."""
    return structs.replace(message, **fields)


async def test_what_is_declared_is_there_at_0(shop: Shop) -> None:
    await shop.app.runtime()
    app = shop.name
    found = {each.labels: each.values[0] for each in meters.read() if each.labels[:1] == (app,)}
    reasons = ("full", "too-large", "unroutable", "conflict", "store", "unknown")
    assert found == {
        (app, "mail", "send"): 0,
        (app, "pdf", "render"): 0,
        **{(app, queue, reason): 0 for queue in ("mail", "pdf") for reason in reasons},
    }


async def test_jobs_are_counted_by_queue_and_kind_once_each(shop: Shop) -> None:
    accepted, refused = Counted(ENQUEUED, shop.name), Counted(REFUSED, shop.name)
    send, render = shop.send, shop.render
    await send.enqueue(1)
    await send.with_options(id="two").enqueue(2)
    await send.with_options(id="two").enqueue(2)  # it exists: nothing is stored
    await shop.app.enqueue_many([render.message(n) for n in range(5)] + [send.message(3)])
    assert accepted.added == {"mail,send": 3, "pdf,render": 5}
    assert refused.added == {}


async def test_refusals_are_counted_by_reason(shop: Shop) -> None:
    accepted, refused = Counted(ENQUEUED, shop.name), Counted(REFUSED, shop.name)
    send, render = shop.send, shop.render
    for n in range(3):
        await send.with_options(id=f"{n}").enqueue(n)
    for _ in range(2):
        with pytest.raises(QueueFull):
            await send.enqueue(4)
    await render.with_options(id="1").enqueue(1)
    other = changed(render.message(1), kind="other", id="pdf.1")
    with pytest.raises(IdConflict):
        await shop.app.enqueue_many([other])
    assert accepted.added == {"mail,send": 3, "pdf,render": 1}
    assert refused.added == {"mail,full": 2, "pdf,conflict": 1}


async def test_a_kind_that_is_not_declared_is_other(shop: Shop) -> None:
    for kind in ("strange", "stranger"):
        await shop.app.enqueue_many([changed(shop.render.message(1), kind=kind, id=f"pdf.{kind}")])
    assert value_of(ENQUEUED, shop.name, "pdf", "other") == 2


class Away:
    """A broker that answers with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def publish(self, messages: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("error", "raised", "reason"),
    [
        (StoreUnavailable("away"), StoreUnavailable, "store"),
        (StoreUncertain("lost"), EnqueueUnknown, "unknown"),
        (TimeoutError(), EnqueueUnknown, "unknown"),
    ],
)
async def test_a_store_that_does_not_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], reason: str
) -> None:
    refused = Counted(REFUSED, shop.name)
    broker = (await shop.app.runtime()).store.broker
    monkeypatch.setattr(type(broker), "publish", Away(error).publish)
    with pytest.raises(raised):
        await shop.app.enqueue_many([shop.send.message(n) for n in range(3)])
    assert refused.added == {f"mail,{reason}": 3}


async def test_a_store_that_cannot_be_opened_refuses_too_and_observers_hear_of_it(tmp_path: Path) -> None:
    shop = Outlast("closed", settings=Settings(url=f"sqlite:{tmp_path}"))  # a folder

    @shop.job(queue="mail")
    async def send(n: int) -> None: ...

    told: list[object] = []
    shop.observe(JobRefused)(told.append)
    with counting(REFUSED, "closed", **{"mail,store": 1}), pytest.raises(StoreError):
        await send.enqueue(1)
    assert [(each.queue, each.reason) for each in told if isinstance(each, JobRefused)] == [("mail", "store")]
    await shop.close()


async def test_spooled_relayed_and_set_aside(tmp_path: Path) -> None:
    shop, path = Shop("spooling"), str(tmp_path / "spool.db")
    send, away = shop.send, [True]
    queues = list(shop.app.registry.queues)

    async def publish(messages: Any) -> Any:
        if away[0]:
            raise StoreUnavailable("away")
        return [TooLarge(9, 1, "max_body") if each.id.endswith("2") else ACCEPTED for each in messages]

    async def direct() -> Any:
        raise StoreUnavailable("away")

    spool = Spool(path, limit=3, publish=publish, same_kind=shop.app.registry.same_kind, app="spooling", queues=queues)
    assert value_of("outlast_spooled_total", "spooling", "mail") == value_of(REFUSED, "spooling", "mail", "spool") == 0
    spooled, relayed, refused = (
        Counted("outlast_spooled_total"),
        Counted("outlast_spool_relayed_total"),
        Counted(REFUSED),
    )
    for n in range(3):
        await spool.through([send.with_options(id=f"{n}").message(n)], direct)
    with pytest.raises(StoreFull):
        await spool.through([send.message(3), send.message(4)], direct)
    assert spooled.added == {"spooling,mail": 3}
    assert refused.added == {"spooling,mail,spool": 2}
    assert relayed.added == {}
    away[0] = False
    await until(lambda: SpoolFile(path).count()[0] == 0, "nothing is left to relay")
    await spool.close()
    assert relayed.added == {"spooling,stored": 2, "spooling,set-aside": 1}


async def test_copies_of_events_are_counted_in_their_queues() -> None:
    shop = Outlast("events", settings=Settings(url="memory:"))
    orders = shop.exchange("orders", type="topic")

    @shop.job(queue="billing", on=orders.binding("order.*"))
    async def bill(event: dict[str, int]) -> None: ...

    @shop.job(queue="mail", on=orders.binding("order.paid"))
    async def thank(event: dict[str, int]) -> None: ...

    with counting(ENQUEUED, "events", **{"billing,bill": 2, "mail,thank": 1}):
        async with shop:
            await orders.publish("order.paid", {"id": 1})
            await orders.publish("order.sent", {"id": 1})
