"""Servers of other versions: what is refused, what newer ones can do besides, and that each is what it is taken for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.redis.store import RedisStore, store_at
from outlast.clients.redis import server_connections
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.errors import StoreError, StoreUncertain
from tests.support.command import Project
from tests.support.jobs import message
from tests.support.polling import until
from tests.support.servers.redis_fleet import Node, wait_for
from tests.support.servers.redis_programs import IN_SUITE, installed, program, version_of
from tests.support.servers.redis_server import RedisServer

OLD = installed("redis-5.0")
HERE = {"installed": program(), **installed(*IN_SUITE, "redis-8.2", "valkey-8.1")}
SYNCS = {name: each for name, each in HERE.items() if version_of(each) >= (7, 2)}
SYNCS_NOT = {name: each for name, each in HERE.items() if version_of(each) < (7, 2)}


@contextmanager
def serving(server: str, aof: str | None = None) -> Iterator[RedisServer]:
    made = RedisServer(server=server, aof=aof)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@asynccontextmanager
async def stored(url: str) -> AsyncIterator[RedisStore]:
    store = store_at(url, clock=SystemClock())
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("name", HERE)
async def test_each_server_reports_its_version(name: str) -> None:
    with serving(HERE[name]) as server:
        client = RedisClient(Address.of(server.url))
        await client.open()
        (facts,) = client.facts.values()
        await client.close()
        assert facts.version == version_of(HERE[name])
        assert facts.valkey == (name.startswith("valkey") or "valkey" in HERE[name])


@pytest.mark.parametrize("name", HERE)
async def test_a_config_set_is_detected_without_a_new_connection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connections, "REFRESH", 0.02)
    with serving(HERE[name], aof="always") as server:
        async with stored(server.url) as store, stored(server.url) as other:
            assert store.capabilities.durability == "os-crash"
            await other._client.command("CONFIG", "SET", "appendfsync", "everysec")
            await until(lambda: store.capabilities.durability == "process-crash", "it is asked again")
            assert store.capabilities.window == 2.0


@pytest.mark.parametrize("name", SYNCS_NOT)
async def test_fsync_is_refused_on_a_server_without_waitaof(name: str) -> None:
    with serving(SYNCS_NOT[name], aof="always") as server:
        with pytest.raises(StoreError, match=r"needs 7\.2 \(WAITAOF\): upgrade it, or remove \?fsync=yes"):
            async with stored(f"{server.url}?durability=replicated&fsync=yes"):
                pass
        async with stored(f"{server.url}?durability=replicated&timeout=1") as store:  # WAIT alone is there
            with pytest.raises(StoreUncertain, match="only 0 of 1 replicas had it within"):
                await store.publish([message("q.1", 1.0)])


if OLD:

    async def test_a_server_older_than_6_2_is_refused_with_the_fix(tmp_path: Path) -> None:
        with serving(OLD["redis-5.0"]) as server:
            with pytest.raises(StoreError, match=r"is Redis 5\.0\.6, which is too old: upgrade it to Redis 6\.2"):
                async with stored(server.url):
                    pass
            doctor = await asyncio.to_thread(Project(tmp_path).run, "doctor", "--url", server.url)
            assert doctor.code == 1
            assert "too old" in doctor.out


if SYNCS:

    @pytest.fixture(params=SYNCS)
    def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Node]]:
        """A master and a replica, both with a file that is synced at each write."""
        monkeypatch.setenv("OUTLAST_TEST_REDIS_SERVER", SYNCS[request.param])
        nodes = [Node(tmp_path / "master", appendonly="yes", appendfsync="always")]
        nodes.append(
            Node(
                tmp_path / "replica",
                appendonly="yes",
                appendfsync="always",
                replicaof=f"127.0.0.1 {nodes[0].port}",
            )
        )
        try:
            for each in nodes:
                each.start()
            wait_for(lambda: b"state=online" in nodes[0].ask("INFO", "replication"))
            yield nodes
        finally:
            for each in nodes:
                each.kill()

    async def test_a_job_is_accepted_when_it_is_on_both_disks(pair: list[Node]) -> None:
        async with stored(f"{pair[0].url}?durability=replicated&fsync=yes") as store:
            await store.publish([message("q.1", 1.0)])
            assert store.capabilities.durability == "replicated"
            for each in pair:
                each.kill()
            pair[1].start(ready=False)
            wait_for(lambda: pair[1].ask("HLEN", "{outlast:q}:b") == 1)

    async def test_a_replica_without_a_file_does_not_count(pair: list[Node]) -> None:
        pair[1].ask("CONFIG", "SET", "appendonly", "no")
        async with stored(f"{pair[0].url}?durability=replicated&fsync=yes&timeout=1") as store:
            with pytest.raises(StoreUncertain, match=r"only 0 of 1 replicas had it on disk within 0\.5 s"):
                await store.publish([message("q.1", 1.0)])
        async with stored(f"{pair[0].url}?durability=replicated") as store:
            await store.publish([message("q.2", 1.0)])

    async def test_a_master_without_a_file_is_refused(pair: list[Node]) -> None:
        pair[0].ask("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(StoreError, match=r"has appendonly no, and \?fsync=yes needs it"):
            async with stored(f"{pair[0].url}?durability=replicated&fsync=yes"):
                pass

    async def test_a_denied_wait_is_reported_as_uncertain(pair: list[Node]) -> None:
        user = f"u{uuid4().hex}"
        pair[0].ask("ACL", "SETUSER", user, "on", ">p", "~*", "&*", "+@all", "-wait", "-waitaof")
        for more in ("", "&fsync=yes"):
            url = pair[0].url.replace("//", f"//{user}:p@") + f"?durability=replicated{more}"
            async with stored(url) as store:
                with pytest.raises(StoreUncertain, match=r"the master has the write, but .* denies this command"):
                    await store.publish([message(f"q.{len(more)}", 1.0)])
