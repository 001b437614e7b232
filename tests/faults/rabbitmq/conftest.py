"""A RabbitMQ for the tests of this process, and a virtual host of each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
