"""Two releases of one app publish to the same exchange: each makes the copies that its own code would enqueue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from outlast import JobRouter, Outlast, Redacted, Settings
from outlast.core.policy import Priority
from outlast.core.store.records import JobRecord
from tests.support.working import record, working


class First(BaseModel):
    order_id: int


class Second(BaseModel):
    order_id: int
    email: str


def with_email(args: dict[str, Any]) -> dict[str, Any]:
    return {"order": {**args["order"], "email": ""}}


class Release:
    """One release of an app on this file, which declares the exchange."""

    def __init__(self, file: Path, app: str = "shop") -> None:
        self.app = Outlast(app, settings=Settings(url=f"sqlite:{file}"))
        self.orders = self.app.exchange("orders")

    async def publish(self, event: object) -> JobRecord:
        """Publish an event; return the record of its one copy."""
        (handle,) = (await self.orders.publish("paid", event)).copies.values()
        return await handle.record()


def old(file: Path, *, priority: Priority = "normal") -> Release:
    release = Release(file)

    @release.app.job(queue="mail", on=release.orders.binding("#"), priority=priority)
    async def send(order: First) -> None: ...

    return release


def new(file: Path) -> Release:
    release = Release(file)

    @release.app.job(queue="mail", on=release.orders.binding("#"), version=2, upgrades={1: with_email})
    async def send(order: Second) -> None: ...

    return release


async def test_each_release_publishes_the_version_that_it_knows(tmp_path: Path) -> None:
    before, after, other = old(tmp_path / "a.db"), new(tmp_path / "a.db"), Release(tmp_path / "a.db", "other")
    async with before.app:
        assert (await before.publish(First(order_id=1))).kind == "send"
        async with after.app:  # it has declared the binding last
            assert (await before.publish(First(order_id=2))).kind == "send"
            assert (await after.publish(Second(order_id=3, email="a"))).kind == "send@2"
            async with other.app:  # it does not know the job
                assert (await other.publish(Second(order_id=4, email="a"))).kind == "send@2"
            again = old(tmp_path / "a.db")
            async with again.app:  # a process of the old release starts again
                assert (await after.publish(Second(order_id=5, email="a"))).kind == "send@2"
                assert (await again.publish(First(order_id=6))).kind == "send"


async def test_an_event_of_the_old_release_is_upgraded_in_a_worker_of_the_new_one(tmp_path: Path) -> None:
    before, after = old(tmp_path / "a.db"), new(tmp_path / "a.db")
    async with before.app, after.app:
        copy = await before.publish(First(order_id=1))
        async with working(after.app):
            assert (await record(after.app, copy.id)).state == "succeeded"


async def test_the_options_of_a_copy_are_those_of_the_release_that_publishes_it(tmp_path: Path) -> None:
    before, other = old(tmp_path / "a.db", priority="high"), Release(tmp_path / "a.db", "other")
    async with before.app, old(tmp_path / "a.db").app, other.app:
        assert (await before.publish(First(order_id=1))).priority == "high"
        assert (await other.publish(First(order_id=1))).priority == "normal"


async def test_a_job_that_is_declared_after_a_publish_counts_for_the_next_one() -> None:
    app = Outlast("shop", settings=Settings(url="memory:"))
    orders, router = app.exchange("orders"), JobRouter()
    inner = router.exchange("orders")

    @app.job(queue="mail", on=orders.binding("#"))
    async def send(order: First) -> None: ...

    with app.testing():
        await orders.publish("paid", First(order_id=1))

        @router.job(queue="billing", on=inner.binding("#"), version=3, upgrades={})
        async def bill(order: First) -> None: ...

        app.include(router)
        published = await orders.publish("paid", First(order_id=2))
        kinds = {queue: (await handle.record()).kind for queue, handle in published.copies.items()}
        assert kinds == {"billing": "bill@3", "mail": "send"}


async def test_a_job_that_has_another_name_now_gets_the_events_of_both_releases(tmp_path: Path) -> None:
    before, after = old(tmp_path / "a.db"), Release(tmp_path / "a.db")

    @after.app.job(queue="mail", on=after.orders.binding("#"), version=2, upgrades={1: with_email}, aliases=("send",))
    async def send_mail(order: Second) -> None: ...

    async with before.app, after.app:  # the new release has declared the binding last
        assert (await after.publish(Second(order_id=1, email="a"))).kind == "send_mail@2"
        assert (await before.publish(First(order_id=2))).kind == "send"
        again = old(tmp_path / "a.db")
        async with again.app:  # a process of the old release starts again
            assert (await after.publish(Second(order_id=3, email="a"))).kind == "send_mail@2"
            copy = await again.publish(First(order_id=4))
            assert copy.kind == "send"
        async with working(after.app):
            assert (await record(after.app, copy.id)).state == "succeeded"


async def test_another_job_in_the_queue_of_one_that_has_moved_gets_its_copy(tmp_path: Path) -> None:
    before, after = old(tmp_path / "a.db"), Release(tmp_path / "a.db")

    @after.app.job(queue="letters", on=after.orders.binding("#"))
    async def send(order: First) -> None: ...

    @after.app.job(queue="mail", on=after.orders.binding("#"))
    async def post(order: First) -> None: ...

    async with before.app, after.app:
        copies = (await before.orders.publish("paid", First(order_id=1))).copies
        kinds = {queue: (await handle.record()).kind for queue, handle in copies.items()}
        assert kinds == {"letters": "send", "mail": "post"}


class Card(BaseModel):
    name: str
    number: Annotated[str, Redacted]


@pytest.mark.parametrize("unroutable", [False, True])
async def test_a_redacted_event_is_redacted_in_each_copy(*, unroutable: bool) -> None:
    app = Outlast("shop", settings=Settings(url="memory:"))
    cards = app.exchange("cards", unroutable="keep")
    got: list[Any] = []

    @app.job(queue="plain", on=cards.binding("used"))
    async def look(event: dict[str, Any]) -> None:
        got.append(event)

    @app.job(queue="cards-unroutable", kind="cards-unroutable")
    async def keep(event: dict[str, Any], key: str, headers: dict[str, Any]) -> None:
        got.append(event)

    with app.testing() as t:
        published = await cards.publish("lost" if unroutable else "used", Card(name="n", number="4111"))
        (handle,) = published.copies.values()
        assert (await handle.record()).args["event"] == "[redacted]"
        assert published.kept is unroutable
        await t.drain()
        assert got == [{"name": "n", "number": "4111"}]
