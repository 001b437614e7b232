"""A virtual host of a RabbitMQ of each test's own, and a project whose events it routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Project
from tests.support.servers.rabbitmq_server import RabbitServer, shared_rabbit

MAIN = """from pathlib import Path
from typing import Any

from outlast import Context, Outlast

shop = Outlast("shop")
orders = shop.exchange("orders")


@shop.job(queue="billing", on=orders.binding("order.*.paid"))
async def write_invoice(ctx: Context, order: dict[str, Any]) -> str:
    return f"{order['order_id']} {ctx.headers['outlast-event']}"
"""


@pytest.fixture
def rabbit() -> RabbitServer:
    """The node that this process shares."""
    return shared_rabbit()


@pytest.fixture
def vhost(rabbit: RabbitServer) -> Iterator[str]:
    """A virtual host of the test's own."""
    with rabbit.vhost() as name:
        yield name


@pytest.fixture
def amqp_url(rabbit: RabbitServer, vhost: str) -> str:
    """The URL of the virtual host."""
    return rabbit.url_of(vhost)


@pytest.fixture
def bridged(tmp_path: Path) -> Project:
    """A project with an exchange and a queue that is bound to it."""
    return Project(tmp_path, MAIN)
