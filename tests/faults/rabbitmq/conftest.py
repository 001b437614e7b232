"""A RabbitMQ for the tests of this process, and a virtual host of each test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.servers.rabbitmq_server import RabbitServer, shared_rabbit


@pytest.fixture(scope="session")
def rabbit() -> RabbitServer:
    """The node that this process shares."""
    return shared_rabbit()


@pytest.fixture
def vhost(rabbit: RabbitServer) -> Iterator[str]:
    """A virtual host of the test's own."""
    with rabbit.vhost() as name:
        yield name


@pytest_asyncio.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """Fail a test after which a task of a client still runs."""
    yield
    assert [task for task in asyncio.all_tasks() if "outlast-amqp" in task.get_name()] == []
