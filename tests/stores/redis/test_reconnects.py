"""A connection to a Redis server that is made again is counted, the first one is not."""

from __future__ import annotations

import pytest

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.errors import StoreError
from tests.support.counts import Counted
from tests.support.servers.redis_server import RedisServer


async def test_each_connection_that_is_made_again_is_counted() -> None:
    server = RedisServer()
    server.start()
    client, again = RedisClient(Address.of(server.url)), Counted("outlast_reconnects_total")
    try:
        await client.open()
        assert await client.command("ECHO", "x") == b"x"
        assert again.added == {}
        for number in (1, 2):
            server.stop()
            with pytest.raises(StoreError):
                await client.command("ECHO", "x")
            server.start()
            assert await client.command("ECHO", "x") == b"x"
            assert again.added == {"redis": number}
        await client.close()
        await client.open()
        assert again.added == {"redis": 2}, "it was closed on purpose"
    finally:
        await client.close()
        server.remove()
