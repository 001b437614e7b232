"""How many bytes a store uses and can use, as its kind tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect, find_kind
from outlast.core.policy import DEFAULTS
from outlast.core.space import Space
from tests.support.jobs import message
from tests.support.servers.redis_acl import PASSWORD, USER, setuser
from tests.support.servers.redis_fleet import Node, node


async def space(url: str, *, body: int = 0) -> Space | None:
    """Return the space of a store with one job."""
    store = connect(url, clock=SystemClock(), max_body=DEFAULTS.max_body)
    kind = find_kind(store.url)
    assert kind is not None
    await store.broker.open()
    try:
        await store.broker.publish([message("mail.1", 0, args={"text": "x" * body})])
        return await kind.space(store)
    finally:
        await store.broker.close()


async def test_a_file_is_bounded_by_its_disk(tmp_path: Path) -> None:
    found = await space(f"sqlite:{tmp_path}/jobs.db", body=500_000)
    assert found is not None
    assert found.limit is not None
    assert 500_000 <= found.used <= 20_000_000, "the log counts, in which the job is"
    free = os.statvfs(tmp_path)
    assert abs(found.limit - found.used - free.f_bavail * free.f_frsize) <= 2**30, "others write to this disk too"


async def test_a_file_that_is_gone_has_none(tmp_path: Path) -> None:
    store = connect(f"sqlite:{tmp_path}/none/jobs.db", clock=SystemClock(), max_body=DEFAULTS.max_body)
    kind = find_kind(store.url)
    assert kind is not None
    assert await kind.space(store) is None


async def test_a_store_in_memory_tells_none() -> None:
    assert await space("memory:") is None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path / "redis") as server:
        yield server


async def test_a_server_is_bounded_by_its_maxmemory(server: Node) -> None:
    found = await space(server.url)
    assert found is not None
    assert found.used > 100_000
    assert found.limit is None
    server.ask("CONFIG", "SET", "maxmemory", 50_000_000)
    bounded = await space(server.url)
    assert bounded is not None
    assert bounded.limit == 50_000_000


async def test_a_server_that_denies_to_tell_has_none(server: Node) -> None:
    server.ask(*setuser("outlast", "-info"))
    assert await space(f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0") is None
