"""One computation for all processes that miss; and without the store, answers from the source, a few at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.toolkit.stampede import CONCURRENCY, miss_together, read_through_outage
from tests.support.servers.redis_server import RedisServer
from tests.support.stores import namespace_of, redis_url


@pytest.mark.parametrize("place", ["sqlite", "redis"])
async def test_processes_that_miss_together_compute_once(place: str, tmp_path: Path) -> None:
    file = f"sqlite:{tmp_path / 'toolkit.db'}"
    url = file if place == "sqlite" else f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    assert await miss_together(url, tmp_path, processes=2, callers=250) == (1, 500)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


async def test_readers_go_on_at_the_source_while_the_server_is_killed(server: RedisServer) -> None:
    seen = await read_through_outage(server, readers=20, answers=100)
    assert seen.wrong == []
    assert seen.answers >= 100
    assert 1 <= seen.at_once <= CONCURRENCY
    assert seen.back
