"""A virtual host of a test's own, and brokers on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.stores.rabbitmq.bench import Bench
from tests.support.servers.rabbitmq_server import shared_rabbit


@pytest.fixture
def vhost() -> Iterator[str]:
    """An empty virtual host."""
    with shared_rabbit().vhost() as name:
        yield name


@pytest.fixture
async def bench(vhost: str) -> AsyncIterator[Bench]:
    """A broker on it, open, with queue `q` declared."""
    bench = Bench(shared_rabbit().url_of(vhost))
    await bench.open()
    yield bench
    await bench.close()
