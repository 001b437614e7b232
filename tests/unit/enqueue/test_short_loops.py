"""A process whose runs have an event loop each keeps one connection, and a new one after an error of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast import Job, Outlast, Settings, StoreUnavailable
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
