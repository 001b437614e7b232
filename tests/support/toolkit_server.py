"""The fixtures of tests that take the toolkit's server away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from outlast.aio.clock import SystemClock
from outlast.aio.portal import portal
from outlast.toolkit.access import Toolkit
from tests.support.expiry import endless_keys
from tests.support.servers.redis_server import RedisServer

__all__ = ["kit", "server"]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, which keeps nothing over a restart; at its end each key of a toolkit must expire."""
    server = RedisServer()
    server.start()
    yield server
    found = endless_keys(server.port) if server.process is not None else []
    server.remove()
    assert found == []


@pytest.fixture
async def kit(server: RedisServer) -> AsyncIterator[Toolkit]:
    """A toolkit on it, on this loop and on that of the portal, where locks are renewed."""
    kit = Toolkit(server.url, clock=SystemClock(), timeout=1.5)
    yield kit
    await kit.close()
    await portal().visit(kit.close)
