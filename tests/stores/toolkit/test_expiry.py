"""The scan for data that never ends finds it, and nothing that ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast import Outlast, Settings
from outlast.aio.clock import SystemClock
from outlast.aio.portal import portal
from outlast.clients.sqlite.statements import load_migrations
from outlast.toolkit.file import ToolkitFile
from tests.support.expiry import ROWS, endless_keys, endless_rows
from tests.support.servers.redis_fleet import Node, node
from tests.support.sides import IdempotentRequest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path / "redis") as server:
        yield server


async def use_all(url: str) -> None:
    """Use each piece, and end as a process does that is killed: locks and keys are held."""
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=url, toolkit_timeout=60))
    await shop.cache.set("k", 1, ttl="30d", tags=["t"])
    await shop.cache._in_use().access.begin("led", "i" * 16, ["t"], lease=10, kept=60, past="")
    assert await shop.limiter("10/day", name="api").take("k")
    assert await IdempotentRequest(shop).is_whole()
    async with shop.lock("left"), shop.semaphore("two", 2):
        pass
    await shop.lock("held").__aenter__()
    await shop.close()
    await portal().visit(shop.close)


async def test_all_that_the_pieces_write_to_a_server_expires(server: Node) -> None:
    await use_all(f"{server.url}?namespace=shop")
    assert len(server.ask("KEYS", "shop:kit:*")) >= 7
    assert endless_keys(server.port) == []
    server.ask("SET", "shop:kit:cache:{planted}", "x")
    server.ask("SET", "shop:kit:lock:{0}:fence:x", "x")
    server.ask("SET", "shop:kit:later:{0}", "x", "EX", 1000)
    assert endless_keys(server.port) == ["shop:kit:cache:{planted}", "shop:kit:lock:{0}:fence:x"]


async def test_all_that_the_pieces_write_to_a_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "toolkit.db"
    await use_all(f"sqlite:{path}")
    file = ToolkitFile(str(path), SystemClock())
    await file.open()
    rows = {name: file.read_row(f"select count(*) from {name}") for name in ("cache", "limits", "idempotency_key")}
    assert all(row is not None and row[0] for row in rows.values()), rows
    await file.write(lambda session: session.run("create table planted (a)"), synced=False)
    assert await endless_rows(path) == []
    await file.write(lambda session: session.run("insert into planted values (1), (2)"), synced=False)
    await file.close()
    assert await endless_rows(path) == ["planted: 2 rows"]


def test_what_may_stay_is_a_table_of_the_file() -> None:
    scripts = "".join(load_migrations("outlast.toolkit").values())
    missing = {name for name in ROWS if f"create table {name} (" not in scripts}
    assert missing <= {"board_periods", "board_scores", "unique_members"}
