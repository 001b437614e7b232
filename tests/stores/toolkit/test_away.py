"""A store that is away: one call finds out, the others are refused at once, and it is used again when it is back."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from outlast import Breaker, Guard
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer


async def ping(store: ToolkitStore) -> bytes:
    assert isinstance(store, ToolkitServer)
    return bytes(await store.client.command("ECHO", "x"))


async def answers(kit: Toolkit) -> bool:
    try:
        return await kit.use(ping) == b"x"
    except ToolkitAway:
        return False


async def test_a_server_that_is_killed_is_away_and_is_used_when_it_is_back(kit: Toolkit, server: RedisServer) -> None:
    await until(lambda: answers(kit), "the store answers")
    server.stop()
    with pytest.raises(ToolkitAway, match=r"127\.0\.0\.1"):
        await kit.use(ping)
    assert kit.is_away
    with pytest.raises(ToolkitAway, match="made no call") as refused:
        await kit.use(ping)
    assert refused.value.retry_after is not None
    assert not refused.value.uncertain
    server.start()
    await until(lambda: answers(kit), "the store is used again")


def is_away(kit: Toolkit) -> bool:
    """Read it anew: a checker takes a property for a constant."""
    return kit.is_away


async def test_it_is_away_while_one_call_tries_it_and_not_when_the_next_call_will(
    kit: Toolkit, server: RedisServer
) -> None:
    now = [0.0]
    kit._guard = Guard("toolkit", breaker=Breaker(window=2, minimum=1, open_for=1, share=False), clock=lambda: now[0])
    await until(lambda: answers(kit), "the store answers")
    server.stop()
    assert not await answers(kit)
    assert is_away(kit)
    now[0] = 1.5
    assert not is_away(kit), "the next call is made"
    ends = asyncio.Event()

    async def tries(store: ToolkitStore) -> None:
        await ends.wait()

    trying = asyncio.create_task(kit.use(tries))
    await asyncio.sleep(0)
    assert is_away(kit)
    with pytest.raises(ToolkitAway):
        await kit.use(ping)
    ends.set()
    await trying
    assert not is_away(kit)


async def test_many_calls_to_a_server_that_hangs_wait_for_one_deadline(kit: Toolkit, server: RedisServer) -> None:
    await until(lambda: answers(kit), "the store answers")
    assert server.process is not None
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        calls: list[str] = []

        async def counted(store: ToolkitStore) -> None:
            calls.append(store.shown)
            await ping(store)

        for _ in range(50):  # one after the other, as one request makes them
            with pytest.raises(ToolkitAway):
                await kit.use(counted)
        assert len(calls) <= 2, "a probe may follow, no call of each"
        with pytest.raises(ToolkitAway):
            await asyncio.gather(*(kit.use(counted) for _ in range(50)))
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: answers(kit), "the store is used again")
