"""A connection to Memcached that is made again is counted, the first one is not."""

from __future__ import annotations

import pytest

from outlast.clients.memcached.address import MemcachedAddress
from outlast.clients.memcached.client import MemcachedClient
from outlast.core.errors import StoreError
from tests.support.counts import Counted
from tests.support.servers.memcached_server import MemcachedServer


async def test_each_connection_that_is_made_again_is_counted() -> None:
    server = MemcachedServer()
    server.start()
    client, again = MemcachedClient(MemcachedAddress.of(server.url)), Counted("outlast_reconnects_total")
    try:
        await client.open()
        assert again.added == {}
        (place,) = client.servers
        server.stop()
        with pytest.raises(StoreError):
            await (await place.connection()).ask(b"mn\r\n")
        server.start()
        await place.connection()
        assert again.added == {"memcached": 1}
    finally:
        await client.close()
        server.stop()
