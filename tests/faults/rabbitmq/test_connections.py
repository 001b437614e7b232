"""Connections to RabbitMQ: refused, cut at every byte, to several servers in turn, over TLS, to what is no RabbitMQ."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from outlast.clients.amqp.errors import AmqpRefused
from outlast.core.errors import StoreError, StoreUnavailable
from tests.support.amqp import QUORUM, Collector, amqp, message, through
from tests.support.certificates import certificates
from tests.support.polling import until
from tests.support.servers.proxy import Faults, proxied
from tests.support.servers.rabbitmq_server import RabbitServer
from tests.support.servers.redis_fleet import free_port

AT_ONCE = 32
BYTES = 1792
"""More than both handshakes, a declaration, a publish and a delivery take, in either direction."""


async def test_a_wrong_password_is_told_without_the_password(rabbit: RabbitServer) -> None:
    url = f"amqp://outlast:wrong-secret@127.0.0.1:{rabbit.port}/"
    async with amqp(url, opened=False) as client:
        with pytest.raises(AmqpRefused, match=r"403 ACCESS_REFUSED.*give the user and the password") as raised:
            await client.open()
        assert "wrong-secret" not in str(raised.value)
        assert raised.value.code == 403
        (answer,) = await client.publish([message("q")], 10)
        assert (answer.outcome, answer.code) == ("unsent", 403)


async def test_a_missing_virtual_host_is_told_with_the_fix(rabbit: RabbitServer) -> None:
    async with amqp(rabbit.url_of("nowhere"), opened=False) as client:
        with pytest.raises(AmqpRefused, match=r"530 NOT_ALLOWED.*rabbitmqctl add_vhost 'nowhere'"):
            await client.open()


async def test_a_user_without_permission_is_told_with_the_fix(rabbit: RabbitServer, vhost: str) -> None:
    rabbit.api("PUT", "users/guest-worker", {"password": "p", "tags": ""})
    try:
        url = f"amqp://guest-worker:p@127.0.0.1:{rabbit.port}/{vhost}"
        async with amqp(url, opened=False) as client:
            with pytest.raises(AmqpRefused, match=r"NOT_ALLOWED.*set_permissions -p"):
                await client.open()
        rabbit.api("PUT", f"permissions/{vhost}/guest-worker", {"configure": "", "write": "", "read": ""})
        async with amqp(url) as client:
            with pytest.raises(AmqpRefused, match="403 ACCESS_REFUSED"):
                await client.declarations.declare_queue("q", arguments=QUORUM)
            (answer,) = await client.publish([message("q")], 10)
            assert (answer.outcome, answer.code) == ("unknown", 403)
    finally:
        rabbit.api("DELETE", "users/guest-worker")


async def test_the_kernel_looks_for_a_dead_server(rabbit: RabbitServer) -> None:
    async with amqp(rabbit.url) as client:
        wire = client._consuming.wire
        assert wire is not None
        assert wire._transport is not None
        used: socket.socket = wire._transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


async def test_a_host_that_is_no_name_is_told() -> None:
    async with amqp(f"amqp://u:p@{'x' * 64}.invalid:1/", opened=False) as client:
        with pytest.raises(StoreUnavailable, match="cannot be reached: "):
            await client.open()


async def test_the_servers_are_tried_in_turn(rabbit: RabbitServer, vhost: str) -> None:
    async with proxied(rabbit.port) as one, proxied(rabbit.port) as two:
        url = f"amqp://{rabbit.user}:{rabbit.password}@127.0.0.1:{one.port},127.0.0.1:{two.port}/{vhost}"
        one.faults.refuse = True
        async with amqp(url) as client:
            await client.declarations.declare_queue("q", arguments=QUORUM)
            got = Collector(ack=True)
            await got.consume(client, "q").ready()
            assert (one.accepted, two.accepted) == (1, 1)
            one.heal()
            two.faults.refuse = True
            two.reset()
            await client.publish([message("q")], 10)
            await until(lambda: client.problem is None and one.accepted > 1, "the other server is used")
            assert (await client.publish([message("q", b"again")], 10))[0].outcome == "confirmed"
            await got.have(1)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_cut_at_any_byte_ends_no_more_than_the_connection(
    rabbit: RabbitServer, vhost: str, direction: str
) -> None:
    async with amqp(rabbit.url_of(vhost)) as client:
        await client.declarations.declare_queue("q", arguments={"x-max-length": 50})
        await client.declarations.declare_queue("r", arguments={"x-max-length": 50})
    answers: list[str] = []

    async def once(cut: int) -> None:
        async with proxied(rabbit.port) as proxy:
            proxy.faults = Faults(cut_up=cut) if direction == "up" else Faults(cut_down=cut)
            async with amqp(through(proxy, rabbit, vhost), opened=False) as client:
                got = Collector(ack=True)
                consumer = got.consume(client, "q")
                with suppress(StoreError):
                    await client.declarations.find_queue("q")
                properties = {"message_id": "m", "headers": {"h": "text", "n": 1.5}}
                answers.extend(
                    answer.outcome
                    for answer in await client.publish([message(each, b"x" * 40, **properties) for each in "qrq"], 20)
                )
                proxy.heal()
                await consumer.ready()

    for first in range(0, BYTES, AT_ONCE):
        await asyncio.gather(*(once(cut) for cut in range(first, first + AT_ONCE)))
    assert len(answers) == 3 * BYTES
    assert set(answers) <= {"confirmed", "unknown", "unsent"}
    assert {"unknown", "unsent"} <= set(answers)


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x01\x00\x00", b"\x01\x00\x00" * 9]
)
async def test_what_is_no_rabbitmq_is_told(greeting: bytes) -> None:
    async with _server(greeting) as port, amqp(f"amqp://127.0.0.1:{port}", opened=False) as client:
        with pytest.raises(StoreUnavailable, match="cannot be reached: "):
            await client.open()


async def test_a_server_that_says_nothing_costs_the_connect_timeout() -> None:
    options = "connect_timeout=200ms"
    async with _server(b"") as port, amqp(f"amqp://127.0.0.1:{port}", opened=False, options=options) as client:
        with pytest.raises(StoreUnavailable, match=r"no connection within 0\.2 s \(\?connect_timeout=\)"):
            await client.open()


@asynccontextmanager
async def _server(greeting: bytes) -> AsyncIterator[int]:
    """Answer every connection with these bytes, and keep it."""
    kept: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        kept.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in kept:
            writer.transport.abort()


async def test_tls_with_a_private_ca(tmp_path: Path) -> None:
    pem, port = certificates(tmp_path), free_port()
    server = RabbitServer(
        options=(
            f"listeners.ssl.default = 127.0.0.1:{port}",
            f"ssl_options.cacertfile = {pem['ca']}",
            f"ssl_options.certfile = {pem['cert']}",
            f"ssl_options.keyfile = {pem['key']}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
        )
    )
    try:
        server.start()
        url = f"amqps://{server.user}:{server.password}@localhost:{port}/"
        own = f"cert={pem['cert']}&key={pem['key']}"
        async with amqp(url, options=f"ca={pem['ca']}&{own}") as client:
            await client.declarations.declare_queue("q", arguments=QUORUM)
            body = bytes(range(256)) * 4000
            assert (await client.publish([message("q", body)], 10))[0].outcome == "confirmed"
            got = Collector(ack=True)
            got.consume(client, "q")
            await got.have(1)
            assert got.bodies == [body]
        for wrong in (f"ca={pem['ca']}", own):
            async with amqp(url, opened=False, options=wrong) as client:
                with pytest.raises(StoreUnavailable):
                    await client.open()
    finally:
        server.remove()
