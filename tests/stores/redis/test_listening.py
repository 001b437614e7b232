"""The connection on which the server's notifications arrive, while none arrives for long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from outlast.clients.redis import connection
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from tests.support.servers.redis_acl import PASSWORD, USER
from tests.support.servers.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    server.permit()
    yield server
    server.remove()


async def pings(client: RedisClient) -> int:
    """Return how many PINGs the server has answered or refused."""
    text = (await client.command("INFO", "commandstats")).decode()
    (line,) = [line for line in text.splitlines() if line.startswith("cmdstat_ping:")] or ["calls=0,rejected_calls=0"]
    counts = dict(each.split("=") for each in line.partition(":")[2].split(",")) if ":" in line else {}
    return int(counts.get("calls", 0)) + int(counts.get("rejected_calls", 0))


@pytest.mark.parametrize("permitted", [True, False], ids=["may-ping", "may-not-ping"])
async def test_it_stays_through_its_pings(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, permitted: bool
) -> None:
    monkeypatch.setattr(connection, "PING", 0.01)
    admin = RedisClient(Address.of(server.url))
    await admin.open()
    await admin.command("ACL", "SETUSER", USER, "+ping" if permitted else "-ping")
    client = RedisClient(Address.of(f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0"))
    await client.open()
    heard, listens = list[bytes](), asyncio.Event()

    def hear(message: bytes) -> None:
        heard.append(message)
        listens.set()

    client.listen(("{outlast}:bell:x",), hear)
    await listens.wait()  # it connected: waits look once
    before = await pings(admin)
    while await pings(admin) < before + 5:
        await asyncio.sleep(0)
    listens.clear()
    assert await admin.command("PUBLISH", "{outlast}:bell:x", "job") == 1
    await listens.wait()
    assert heard == [b"", b"job"]
    await client.close()
    await admin.close()
