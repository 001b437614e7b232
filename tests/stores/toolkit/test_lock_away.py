"""A lock while its store is away: no body begins, one that runs is ended in time, and all goes on when it is back."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from outlast import LockLost
from outlast.aio.clock import SystemClock
from outlast.core.errors import StoreUnavailable
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.lock.server import ServerLocks
from outlast.toolkit.lock.store import Holding
from tests.support.locks import lock_of
from tests.support.servers.redis_server import RedisServer


async def test_no_body_runs_while_the_store_is_down(kit: Toolkit, server: RedisServer) -> None:
    async with lock_of(kit) as before:
        pass
    server.stop()
    for wait in (0, 0.2):
        with pytest.raises(ToolkitAway):
            async with lock_of(kit, wait=wait):
                raise AssertionError("nothing protects it")
    waits = asyncio.create_task(lock_of(kit).__aenter__())
    await asyncio.wait([waits], timeout=0.1)
    assert not waits.done()
    server.start()
    assert (await waits).token > before.token


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_body_ends_before_its_lease_when_the_store_goes_away(
    kit: Toolkit, server: RedisServer, how: str
) -> None:
    clock = SystemClock()
    ended = 0.0
    assert server.process is not None
    pid = server.process.pid
    with pytest.raises(LockLost, match="could not be renewed in time"):
        async with lock_of(kit, lease=1.0) as lease:
            if how == "killed":
                server.stop()
            else:
                os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.Event().wait()
            finally:
                ended = clock.monotonic()
                assert lease.lost
    assert ended >= lease.ends_at
    if how == "killed":
        server.start()
    else:
        os.kill(pid, signal.SIGCONT)
    async with lock_of(kit) as after:
        assert after.token > lease.token


async def test_a_lock_whose_server_came_back_empty_is_lost(kit: Toolkit, server: RedisServer) -> None:
    with pytest.raises(LockLost, match="the store does not have it any more"):
        async with lock_of(kit, lease=6.0) as lease:
            server.stop()
            server.start()
            async with lock_of(kit) as other:  # which no server can prevent: the token tells them apart
                assert other.token > lease.token
            await asyncio.Event().wait()


async def test_a_release_that_failed_is_repeated(kit: Toolkit, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []
    real = ServerLocks.leave

    async def leave(self: ServerLocks, held: Holding) -> None:
        if len(refused) < 2:
            refused.append(held.key)
            raise StoreUnavailable("the store is away")
        await real(self, held)

    async with lock_of(kit, lease=300.0):
        monkeypatch.setattr(ServerLocks, "leave", leave)
    async with lock_of(kit, wait=60):
        assert refused == ["lock:stock:7"] * 2
