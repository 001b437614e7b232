"""Replies of Memcached, however the network cuts them, reach the requests that they answer."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from outlast.clients.memcached.connection import MemcachedConnection, MemcachedReply, ValueRefused
from outlast.core.errors import StoreError, StoreFull, StoreUncertain


def connected() -> tuple[MemcachedConnection, Mock]:
    """Return a connection whose server is the test, and its transport."""
    connection, transport = MemcachedConnection("host:1", 30.0), Mock()
    transport.get_extra_info.return_value = None
    transport.is_closing.return_value = False
    connection.connection_made(transport)
    return connection, transport


BODY = b"a\r\nEND\r\nHD\r\nEN\r\n"
REPLIES = b"VA %d c17\r\n%b\r\nEN\r\nHD\r\nNF\r\nEX\r\nNS\r\nVA 0 c5\r\n\r\nVERSION 1.6.18\r\n" % (len(BODY), BODY)
MEANT = [
    MemcachedReply(found=True, value=BODY, cas=17),
    MemcachedReply(),
    MemcachedReply(done=True),
    MemcachedReply(),
    MemcachedReply(),
    MemcachedReply(),
    MemcachedReply(found=True, cas=5),
    MemcachedReply(value=b"VERSION 1.6.18"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_replies_that_come_in_parts_are_put_together(size: int) -> None:
    connection, _ = connected()
    asked = asyncio.gather(*(connection.ask(b"x") for _ in MEANT))
    await asyncio.sleep(0)
    for begin in range(0, len(REPLIES), size):
        connection.data_received(REPLIES[begin : begin + size])
    assert await asked == MEANT


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"SERVER_ERROR object too large for cache", ValueRefused),
        (b"SERVER_ERROR out of memory storing object", StoreFull),
        (b"SERVER_ERROR too many open connections", StoreUncertain),
        (b"CLIENT_ERROR bad data chunk", StoreError),
        (b"ERROR", StoreError),
    ],
)
async def test_a_refusal_is_an_error_of_its_own_request_alone(line: bytes, kind: type[StoreError]) -> None:
    connection, _ = connected()
    refused, other = asyncio.create_task(connection.ask(b"x")), asyncio.create_task(connection.ask(b"y"))
    await asyncio.sleep(0)
    connection.data_received(line + b"\r\nHD\r\n")
    with pytest.raises(kind) as caught:
        await refused
    assert type(caught.value) is kind
    assert (await other).done


async def test_a_reply_to_nobody_and_endless_lines_end_the_connection() -> None:
    for data in (b"HD\r\n", b"x" * 5000):
        connection, transport = connected()
        asked = asyncio.create_task(connection.ask(b"x"))
        await asyncio.sleep(0)
        connection.data_received(b"HD\r\n" + data if data == b"HD\r\n" else data)
        assert transport.abort.called
        assert not connection.alive
        assert isinstance(await asyncio.gather(asked, return_exceptions=True), list)


async def test_a_cancelled_call_takes_no_reply_of_another_and_ends_no_change_of_two_steps() -> None:
    connection, transport = connected()

    async def change() -> MemcachedReply:
        assert (await connection.ask(b"read")).value == b"B"
        return await connection.ask(b"write")

    cancelled, other = asyncio.create_task(connection.ask(b"x")), asyncio.create_task(change())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    connection.data_received(b"VA 1 c1\r\nA\r\nVA 1 c2\r\nB\r\n")
    await asyncio.sleep(0)
    connection.data_received(b"HD\r\n")
    assert (await other).done
    assert connection.alive
    assert not transport.abort.called
