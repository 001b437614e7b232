"""Connections to Redis, through a proxy that fails and servers that are killed, paused, filled and demoted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.clients.redis.discovery import slot_of
from outlast.clients.redis.scripts import Script
from outlast.core.errors import ConfigurationError, StoreError, StoreFull, StoreUnavailable, StoreUncertain
from tests.faults.proofs.redis_cancels import cancel
from tests.support.certificates import certificates
from tests.support.polling import until
from tests.support.servers.proxy import Proxy, proxied
from tests.support.servers.redis_fleet import DEBUG, Node, cluster, free_port, node, sentinels


def _script(text: str) -> Script:
    return Script(text, sha1(text.encode()).hexdigest())


ECHO = _script("return ARGV[1]")
PUT = _script("redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]")
ADD = _script("redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path / "redis", **DEBUG) as made:
        yield made


@asynccontextmanager
async def connected(url: str, *, opened: bool = True) -> AsyncIterator[RedisClient]:
    """Have a client that waits 0.4 s for anything."""
    client = RedisClient(Address.of(f"{url}{'&' if '?' in url else '?'}timeout=0.4&connect_timeout=0.4"))
    try:
        if opened:
            await client.open()
        yield client
    finally:
        await client.close()


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


async def echo(client: RedisClient, text: str) -> Any:
    return (await client.run(ECHO, ["k"], [text])).decode()


async def test_a_missing_server_is_reported_at_once(server: Node) -> None:
    server.kill()
    async with connected(server.url, opened=False) as client:
        with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
            await client.open()
        assert not isinstance(raised.value, StoreUncertain)


async def test_a_server_that_never_answers_raises_within_the_deadline(server: Node) -> None:
    async with proxied(server.port) as proxy, connected(through(proxy), opened=False) as client:
        proxy.faults.hold = True
        # All who wait for the connection share the one attempt: else the last of them would wait for all.
        tried = await asyncio.gather(client.open(), *(echo(client, str(n)) for n in range(50)), return_exceptions=True)
        assert {type(each) for each in tried} == {StoreUnavailable}
        assert proxy.accepted == 1


async def test_a_dead_connection_is_aborted_and_made_again(server: Node) -> None:
    async with proxied(server.port) as proxy, connected(through(proxy)) as client:
        assert await echo(client, "before") == "before"
        proxy.deafen()
        with pytest.raises(StoreUncertain, match=r"no answer within 0\.4 s"):
            await echo(client, "lost")
        proxy.heal()
        assert await echo(client, "after") == "after"
        assert proxy.accepted == 2


async def test_a_cancelled_call_retires_its_connection_and_fails_no_other(server: Node) -> None:
    async with proxied(server.port) as proxy, connected(through(proxy)) as client:
        before, proxy.faults.delay = proxy.up, 0.02
        gone = asyncio.create_task(echo(client, "gone"))
        others = [asyncio.create_task(echo(client, f"other {n}")) for n in range(20)]
        await until(lambda: proxy.up > before, "it is on its way")
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await echo(client, "next") == "next"
        assert await asyncio.gather(*others) == [f"other {n}" for n in range(20)]
        assert proxy.accepted == 2


async def test_no_reply_reaches_another_call(server: Node) -> None:
    count = await cancel(server.url, 1000, seed=7)  # in full: python -m tests.faults.proofs.redis_cancels
    assert count.crossed == 0
    assert count.answered


async def test_cut_at_every_byte_a_call_returns_or_raises_the_right_error(server: Node) -> None:
    async with proxied(server.port) as proxy, connected(through(proxy)) as client:
        up, down = proxy.up, proxy.down
        await client.run(ADD, ["sizes"], ["first"])
        up, down = proxy.up - up, proxy.down - down
        sent: dict[str, str] = {}
        for side, size in (("up", up), ("down", down)):
            for byte in range(size + 1):
                name = f"{side}:{byte}"
                setattr(proxy.faults, f"cut_{side}", byte)
                try:
                    assert await client.run(ADD, ["list"], [name]) == name.encode()
                    sent[name] = "done"
                except StoreUncertain:
                    sent[name] = "uncertain"
                proxy.heal()
                assert await echo(client, "well") == "well"
        kept = [each.decode() for each in await client.command("LRANGE", "list", 0, -1)]
        assert len(kept) == len(set(kept))
        assert {name for name, how in sent.items() if how == "done"} <= set(kept) <= set(sent)
        assert {sent["up:0"], sent["down:0"]} == {"uncertain"}
        assert "up:0" not in kept
        assert "down:0" in kept


async def test_a_call_that_may_be_repeated_survives_a_cut(server: Node) -> None:
    async with proxied(server.port) as proxy, connected(through(proxy)) as client:
        await echo(client, "warm")
        proxy.faults.cut_down = 0
        asyncio.get_running_loop().call_later(0.05, proxy.heal)
        proxy.faults.delay = 0.06
        assert await client.run(PUT, ["k"], ["v"], again=True) == b"v"


async def test_a_failed_repeat_of_an_uncertain_call_is_uncertain(server: Node) -> None:
    async with proxied(server.port) as proxy, connected(through(proxy)) as client:
        await echo(client, "warm")
        proxy.faults.cut_down = 0
        proxy.faults.refuse = True
        with pytest.raises(StoreUncertain):
            await client.run(PUT, ["k"], ["v"], again=True)


async def test_a_killed_connection_is_made_again(server: Node) -> None:
    async with connected(server.url) as client:
        await echo(client, "a")
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with suppress(StoreUncertain):
            await echo(client, "b")
        assert await echo(client, "c") == "c"


async def test_calls_to_a_sleeping_server_raise_within_the_deadline(server: Node) -> None:
    async with connected(server.url) as client:
        asleep = asyncio.create_task(asyncio.to_thread(server.ask, "DEBUG", "SLEEP", "1"))
        with pytest.raises(StoreUncertain, match="no answer"):
            while True:  # until it has fallen asleep
                await echo(client, "a")
        with pytest.raises(StoreUnavailable, match="no answer within"):  # the kernel accepts the connection
            await client.command("SELECT", 0)
        await asleep
        assert await echo(client, "b") == "b"


async def test_calls_to_a_paused_server_raise_within_the_deadline(server: Node) -> None:
    async with connected(server.url) as client:
        server.ask("CLIENT", "PAUSE", 60_000, "WRITE")
        with pytest.raises(StoreUncertain, match="no answer"):
            await client.run(PUT, ["k"], ["v"])
        server.ask("CLIENT", "UNPAUSE")
        assert await client.run(PUT, ["k"], ["v"]) == b"v"


async def test_calls_to_a_stopped_server_raise_within_the_deadline(server: Node) -> None:
    async with connected(server.url) as client:
        server.signal(signal.SIGSTOP)
        with pytest.raises(StoreUncertain, match="no answer"):
            await echo(client, "a")
        server.signal(signal.SIGCONT)
        assert await echo(client, "b") == "b"


async def test_scripts_that_the_server_lost_are_sent_again(server: Node) -> None:
    async with connected(server.url) as client:
        for _ in range(2):
            calls = (client.run(ECHO, ["k"], [n]) for n in range(5))
            assert await asyncio.gather(*calls) == [b"0", b"1", b"2", b"3", b"4"]
            server.ask("SCRIPT", "FLUSH")


async def test_a_full_server_refuses_writes_with_its_own_error(server: Node) -> None:
    async with connected(server.url) as client:
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFull, match="at its maxmemory"):
            await client.run(PUT, ["k"], ["v"])
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await client.run(PUT, ["k"], ["v"]) == b"v"


async def test_a_demoted_server_is_reported(server: Node, tmp_path: Path) -> None:
    with node(tmp_path / "other") as other:
        async with connected(server.url) as client:
            assert await client.run(PUT, ["k"], ["v"]) == b"v"
            server.ask("REPLICAOF", "127.0.0.1", other.port)
            with pytest.raises(StoreUnavailable, match="is a replica"):
                await client.run(PUT, ["k"], ["v"])
            server.ask("REPLICAOF", "NO", "ONE")
            assert await client.run(PUT, ["k"], ["v"]) == b"v"


async def test_a_server_that_loads_its_data_is_reported(tmp_path: Path) -> None:
    slow = Node(tmp_path / "slow", key_load_delay="2000", loading_process_events_interval_bytes="1024")
    try:
        slow.start()
        slow.ask("CONFIG", "SET", "key-load-delay", "0")
        for n in range(2000):
            slow.ask("SET", f"key{n}", "x" * 100)
        slow.ask("SAVE")
        slow.kill()
        slow.start(ready=False)
        async with connected(slow.url, opened=False) as client:
            with pytest.raises(StoreUnavailable, match="is starting and loads its data"):
                await client.open()
                await echo(client, "a")
            await until(lambda: slow.ask("PING") == b"PONG" if not _loading(slow) else None, "it has read all")
            await client.open()
            assert await echo(client, "b") == "b"
    finally:
        slow.kill()


def _loading(server: Node) -> bool:
    return b"loading:1" in server.ask("INFO", "persistence")


async def test_messages_arrive_again_after_a_restart(server: Node) -> None:
    heard: list[bytes] = []
    async with connected(server.url) as client:
        client.listen(["bell"], heard.append)
        await until(lambda: b"" in heard, "it listens")
        server.ask("PUBLISH", "bell", "one")
        await until(lambda: b"one" in heard, "it hears")
        server.kill()
        server.start()
        await until(lambda: heard.count(b"") == 2, "it listens again, and says that something may be missed")
        server.ask("PUBLISH", "bell", "two")
        await until(lambda: b"two" in heard, "it hears again")


async def test_tls_with_a_private_ca(tmp_path: Path) -> None:
    pem = certificates(tmp_path)
    tls: dict[str, Any] = {"tls_cert_file": pem["cert"], "tls_key_file": pem["key"], "tls_ca_cert_file": pem["ca"]}
    port, secure = free_port(), Node(tmp_path / "redis", tls_auth_clients="yes", **tls)
    secure.start()
    try:
        secure.ask("CONFIG", "SET", "tls-port", port)
        url = f"rediss://localhost:{port}/0?ca={pem['ca']}"
        own = f"cert={pem['cert']}&key={pem['key']}"
        async with connected(f"{url}&{own}") as client:
            assert await echo(client, "a") == "a"
        for wrong in (url, f"rediss://localhost:{port}/0?{own}"):
            async with connected(wrong, opened=False) as client:
                with pytest.raises(StoreUnavailable):
                    await client.open()
    finally:
        secure.kill()


async def test_users_and_passwords(server: Node) -> None:
    server.ask("ACL", "SETUSER", "shop", "on", ">secret:/@", "~k", "+eval", "+evalsha", "+select")
    async with connected(f"redis://shop:secret%3A%2F%40@127.0.0.1:{server.port}/0") as client:
        assert await echo(client, "a") == "a"
        assert client.durability == ("unknown", 0.0)  # neither INFO nor CONFIG is permitted
        with pytest.raises(StoreError, match="denies this command to the user of the url"):
            await client.command("GET", "other")
    server.ask("ACL", "SETUSER", "default", "off")
    for url, said in (
        (f"shop:wrong@127.0.0.1:{server.port}", "rejects this user and password"),
        (f"127.0.0.1:{server.port}", "NOAUTH"),
    ):
        async with connected(f"redis://{url}/0", opened=False) as client:
            with pytest.raises(StoreError, match=said) as raised:
                await client.open()
                await echo(client, "a")
            assert "wrong" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, ("memory", 0.0)),
        ({"appendonly": "yes", "appendfsync": "everysec"}, ("process-crash", 2.0)),
        ({"appendonly": "yes", "appendfsync": "no"}, ("process-crash", 30.0)),
        ({"appendonly": "yes", "appendfsync": "always"}, ("os-crash", 0.0)),
        (
            {"appendonly": "yes", "appendfsync": "always", "maxmemory": "1gb", "maxmemory_policy": "allkeys-lru"},
            ("memory", 0.0),
        ),
    ],
)
async def test_the_durability_follows_the_settings_of_the_server(
    tmp_path: Path, options: dict[str, str], level: tuple[str, float]
) -> None:
    with node(tmp_path / "redis", **options) as made:
        async with connected(made.url) as client:
            assert client.durability == level


async def test_a_sentinel_failover_is_followed(tmp_path: Path) -> None:
    with sentinels(tmp_path) as (servers, watchers):
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in watchers)
        async with connected(f"redis+sentinel://{hosts}/mymaster?durability=replicated") as client:
            assert client.durability == ("replicated", 0.0)
            assert await client.run(PUT, ["k"], ["v"], sure=True) == b"v"
            servers[0].kill()
            watchers[0].kill()  # another one is asked

            async def moved() -> bool:
                with suppress(StoreUnavailable):
                    return bool(await client.run(PUT, ["k"], ["w"]) == b"w")
                return False

            await until(moved, "the new master is found")
            assert servers[1].ask("GET", "k") == b"w"
            with pytest.raises(StoreUncertain, match="only 0 of 1 replicas had it"):
                await client.run(PUT, ["k"], ["x"], sure=True)
        async with connected(f"redis+sentinel://{hosts}/other", opened=False) as client:
            with pytest.raises(StoreUnavailable, match="has no master 'other'"):
                await client.open()


async def test_a_cluster_continues_without_a_killed_master(tmp_path: Path) -> None:
    with cluster(tmp_path, masters=3, replicas=3) as nodes:
        keys = {slot_of(f"{{{n}}}") * 3 // 16384: f"{{{n}}}" for n in range(50)}
        async with connected(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}") as client:

            async def all_take(value: bytes) -> bool:
                with suppress(StoreUnavailable):
                    return [await client.run(PUT, [keys[n]], [value]) for n in range(3)] == [value] * 3
                return False

            await until(lambda: all_take(b"before"), "all masters take something")
            assert sum(int(node.ask("DBSIZE")) for node in nodes[:3]) == 3
            nodes[0].kill()
            await until(lambda: all_take(b"after"), "the replica has become the master")
            assert nodes[3].ask("GET", keys[0]) == b"after"


async def test_slots_that_move_are_followed(tmp_path: Path) -> None:
    with cluster(tmp_path, masters=2) as nodes:
        async with connected(f"redis+cluster://127.0.0.1:{nodes[1].port}") as client:
            key = "{tag}"
            slot = slot_of(key)
            old, new = (nodes[0], nodes[1]) if slot < 8192 else (nodes[1], nodes[0])
            ids = {each: each.ask("CLUSTER", "MYID").decode() for each in nodes}
            assert await client.run(PUT, [key], ["v"]) == b"v"
            new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[old])
            old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[new])
            old.ask("MIGRATE", "127.0.0.1", new.port, key, 0, 1000)
            assert await client.command("GET", key) == b"v", "a command is sent after its key"
            with pytest.raises(StoreUnavailable, match="is being moved"):
                await client.run(PUT, [key], ["asked"])  # a script finds half of its keys here and half there
            waiting = asyncio.create_task(client.run(PUT, [key], ["waited"]))
            await asyncio.sleep(0)
            for each in (new, old):
                each.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[new])
            assert await waiting == b"waited"
            assert await client.run(PUT, [key], ["moved"]) == b"moved"
            assert new.ask("GET", key) == b"moved"


async def test_a_server_that_is_no_cluster_is_refused(server: Node) -> None:
    async with connected(f"redis+cluster://127.0.0.1:{server.port}", opened=False) as client:
        with pytest.raises(StoreError, match="is no Cluster node: give 'redis://'"):
            await client.open()


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    async with connected(f"rediss://127.0.0.1:1/0?ca={wrong}", opened=False) as client:
        with pytest.raises(ConfigurationError, match="ca="):
            await client.open()
