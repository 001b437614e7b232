"""A process whose runs have an event loop each keeps one connection, and a new one after an error of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from outlast import Job, JobEnqueued, Outlast, Settings, StoreUnavailable
from outlast.aio import portal as portal_module
from outlast.aio.portal import expect_short_loops, portal
from outlast.brokers.sqlite import SqliteStore
from outlast.core.message import Message
from outlast.core.settlement import Published


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SqliteStore]]:
    """The stores that were opened, in a process that expects short loops."""
    monkeypatch.setattr(portal_module, "_short_loops", False)
    found: list[SqliteStore] = []
    real = SqliteStore.open

    async def opening(store: SqliteStore) -> None:
        found.append(store)
        await real(store)

    monkeypatch.setattr(SqliteStore, "open", opening)
    expect_short_loops()
    yield found
    portal().stop()


def shop_at(folder: Path) -> tuple[Outlast, Job[[], Any]]:
    shop = Outlast("shop", settings=Settings(url=f"sqlite:{folder}/jobs.db"))

    @shop.job
    async def send() -> None: ...

    return shop, send


def test_all_loops_and_blocking_code_use_one_connection(opened: list[SqliteStore], tmp_path: Path) -> None:
    _, send = shop_at(tmp_path)
    for _ in range(3):
        assert asyncio.run(enqueued(send))
    assert send.enqueue_sync().created
    assert len(opened) == 1


def test_events_use_the_same_connection(opened: list[SqliteStore], tmp_path: Path) -> None:
    shop, send = shop_at(tmp_path)
    orders = shop.exchange("orders", type="fanout")

    @shop.job(queue="mail", on=orders.binding())
    async def hear(order: int) -> None: ...

    async def published(id: str) -> bool:
        return (await orders.publish("", 1, id=id)).copies["mail"].created

    assert asyncio.run(enqueued(send))
    assert [asyncio.run(published(id)) for id in ("1", "2", "1")] == [True, True, False]
    assert orders.publish_sync("", 1).copies["mail"].created
    assert len(opened) == 1


def test_one_that_a_run_has_broken_is_replaced(
    opened: list[SqliteStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, send = shop_at(tmp_path)
    assert asyncio.run(enqueued(send))

    async def broken(*_: object) -> list[Published]:
        raise StoreUnavailable("its descriptors were closed")

    with monkeypatch.context() as breaking:
        breaking.setattr(SqliteStore, "publish", broken)
        with pytest.raises(StoreUnavailable):
            asyncio.run(enqueued(send))
    assert asyncio.run(enqueued(send))
    assert len(opened) == 2


def test_it_belongs_to_the_folder_in_which_it_was_opened(
    opened: list[SqliteStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that changed the working directory must not lead the next ones into another file."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "own")
    shop = Outlast("shop", settings=Settings(url="sqlite:jobs.db"))

    @shop.job
    async def send() -> None: ...

    monkeypatch.chdir(tmp_path / "other")
    assert asyncio.run(enqueued(send))
    monkeypatch.chdir(tmp_path / "own")
    for _ in range(2):
        assert asyncio.run(enqueued(send))
    assert [Path(store.path).parent.name for store in opened] == ["other", "own"]


def test_it_is_opened_outside_the_context_of_the_run(
    opened: list[SqliteStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter of the log would name the first run in what the store logs later; observers do see their run."""
    tenant: ContextVar[str] = ContextVar("tenant", default="none")
    seen: list[str] = []
    real = SqliteStore.open

    async def opening(store: SqliteStore) -> None:
        seen.append(tenant.get())
        await real(store)

    monkeypatch.setattr(SqliteStore, "open", opening)
    shop, send = shop_at(tmp_path)
    shop.observe(JobEnqueued)(lambda _: seen.append(tenant.get()))
    tenant.set("ann")
    assert asyncio.run(enqueued(send))
    assert seen == ["none", "ann"]


def test_a_cancelled_enqueue_ends_with_its_loop(
    opened: list[SqliteStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, send = shop_at(tmp_path)
    assert asyncio.run(enqueued(send))
    ended: list[str] = []

    async def waits(store: SqliteStore, messages: list[Message]) -> list[Published]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return []

    async def gives_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(enqueued(send), 0.05)

    with monkeypatch.context() as waiting:
        waiting.setattr(SqliteStore, "publish", waits)
        asyncio.run(gives_up())
    assert asyncio.run(enqueued(send))
    assert ended == ["cancelled"]
    assert len(opened) == 1


async def enqueued(send: Job[[], Any]) -> bool:
    return (await send.enqueue()).created
