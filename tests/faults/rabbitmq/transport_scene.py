"""Workers over RabbitMQ on a virtual host of a test's own, with the ledger that their jobs write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from outlast import EnqueueUnknown, StoreError
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.client import AmqpClient
from outlast.clients.amqp.consumer import AmqpDelivery
from tests.faults.kill.app import brief
from tests.faults.kill.scene import Scene
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer, shared_rabbit

__all__ = ["RabbitScene", "fragile", "names", "node", "scene", "transport_scene"]


class RabbitScene(Scene):
    """A scene on a virtual host of a node."""

    enqueue_timeout = 10

    def __init__(self, folder: Path, server: RabbitServer, vhost: str) -> None:
        super().__init__(folder, server.url_of(vhost))
        self.server = server
        self.vhost = vhost

    async def counts(self) -> dict[str, int]:
        """Return the messages of each queue, ready or delivered."""
        found = await asyncio.to_thread(self.server.api, "GET", f"queues/{quote(self.vhost, safe='')}")
        # A server that was killed tells nothing of a queue in which nothing has changed since.
        return {each["name"]: each.get("messages", 0) for each in found}

    async def counted(self) -> tuple[int, int]:
        """Return how many jobs the server has, and how many dead letters."""
        counts = await self.counts()
        jobs = sum(number for name, number in counts.items() if not name.endswith(".dead"))
        return jobs, sum(number for name, number in counts.items() if name.endswith(".dead"))

    async def done(self, dead: int = 0, within: float = 40.0) -> None:
        """Wait until the server has no job any more, in no queue and no bucket, and so many dead letters."""

        async def look() -> bool:
            return await self.counted() == (0, dead)

        try:
            await until(look, "no job is left", within=within)
        except AssertionError:
            raise AssertionError(f"{await self.counts()}, {self.ledger.names('end')}\n{self.told()}") from None

    async def ended(self, *names: str) -> None:
        """Wait until these jobs have ended."""
        await until(lambda: set(names) <= self.ledger.names("end").keys(), f"{names} have ended")

    async def some_ended(self, number: int) -> None:
        """Wait until so many jobs have ended."""
        await until(lambda: len(self.ledger.names("end")) >= number, f"{number} jobs have ended")

    async def persist(self, name: str) -> None:
        """Enqueue a job as a client must whose enqueue is unknown: again, until it is accepted."""

        async def accepted() -> bool:
            try:
                await self.enqueue(brief, name, 0.0)
            except (EnqueueUnknown, StoreError):
                return False
            return True

        await until(accepted, f"{name} is accepted")

    async def letter(self) -> AmqpDelivery:
        """Take one dead letter."""
        client = AmqpClient(AmqpAddress.of(self.url))
        taken: list[AmqpDelivery] = []
        client.consume("default.dead", 1, taken.append)
        await until(lambda: taken, "a dead letter")
        await client.close()
        return taken[0]


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitServer]:
    """A node of this file's own, which its tests kill."""
    server = RabbitServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[RabbitScene]:
    """A scene on the node that no test kills."""
    with shared_rabbit().vhost() as vhost:
        async with transport_scene(tmp_path, shared_rabbit(), vhost) as each:
            yield each


@pytest.fixture
async def fragile(tmp_path: Path, node: RabbitServer) -> AsyncIterator[RabbitScene]:
    """A scene on the node that tests kill."""
    with node.vhost() as vhost:
        async with transport_scene(tmp_path, node, vhost) as each:
            yield each


@asynccontextmanager
async def transport_scene(folder: Path, server: RabbitServer, vhost: str) -> AsyncIterator[RabbitScene]:
    """Have a scene on a virtual host for the block."""
    scene = RabbitScene(folder, server, vhost)
    await scene.app.runtime()
    try:
        yield scene
    finally:
        await scene.app.close()
        print(scene.told())


def names(number: int) -> list[str]:
    return [f"job-{each}" for each in range(number)]
