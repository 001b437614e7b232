"""A limiter whose store is away: each process decides alone over its share, or refuses; whole again when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.core.errors import InvalidArguments
from outlast.core.toolkit_errors import ToolkitAway
from outlast.resilience.deadlines import deadline
from outlast.toolkit.access import Toolkit
from outlast.toolkit.limiter.limiter import Limiter
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer
from tests.support.sqlite_file import locked

DAY = "100/day"


@pytest.fixture
async def kits(server: RedisServer) -> AsyncIterator[list[Toolkit]]:
    """Four toolkits, as four processes have them."""
    kits = [Toolkit(server.url, clock=SystemClock(), timeout=2.0) for _ in range(4)]
    yield kits
    for kit in kits:
        await kit.close()


def limiter_of(kit: Toolkit, limits: str = DAY, **options: bool) -> Limiter:
    return Limiter(lambda: kit, limits, name="api", **options)


async def admitted(limiter: Limiter, key: str, *, tries: int = 60, cost: int = 1) -> int:
    return sum([(await limiter.take(key, cost=cost)).allowed for _ in range(tries)])


async def join(limiters: list[Limiter]) -> None:
    """Let each know all of them: the first one counts itself alone, until its next note."""
    for each in [*limiters, *limiters]:
        each._sides.clear()
        await each.take("joins")


async def test_the_processes_share_the_limit_and_the_decision_says_that_it_is_approximate(
    server: RedisServer, kits: list[Toolkit], caplog: pytest.LogCaptureFixture
) -> None:
    limiters = [limiter_of(kit) for kit in kits]
    await join(limiters)
    server.stop()
    found = await limiters[0].take("k")
    assert (found.allowed, found.approximate, found.remaining) == (True, True, 24)
    assert dict(found.headers)["RateLimit"] == '"api:100/d";r=24;t=3456;outlast-approximate'
    assert [await admitted(each, "k") for each in limiters] == [24, 25, 25, 25]
    assert await admitted(limiters[0], "large", cost=10) == 2
    assert await admitted(limiters[0], "larger", cost=50) == 1, "what is more than a share takes all of it"
    with pytest.raises(InvalidArguments):
        await limiters[0].take("k", cost=101)
    assert caplog.text.count("this process alone decides, as one of 4 processes") == 4


async def test_limits_are_whole_again_when_the_store_is_back(
    server: RedisServer, kits: list[Toolkit], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    limiter = limiter_of(kits[0])
    assert await admitted(limiter, "k", tries=40) == 40
    server.stop()
    assert await admitted(limiter, "k", tries=101) == 100, "alone, it counts from 0"
    server.start()

    async def exact() -> bool:
        return not (await limiter.take("probe")).approximate

    await until(exact, "the store decides again")
    assert await admitted(limiter, "k", tries=101) == 100, "the server was emptied: it keeps nothing on disk"
    assert "limiter 'api': the store is back" in caplog.text


async def test_a_closed_limiter_never_decides_alone(server: RedisServer, kits: list[Toolkit]) -> None:
    limiter = limiter_of(kits[0], closed=True)
    assert await limiter.take("k")
    server.stop()
    for _ in range(3):
        with pytest.raises(ToolkitAway):
            await limiter.take("k")
    server.start()

    async def back() -> bool:
        try:
            return bool(await limiter.take("k"))
        except ToolkitAway:
            return False

    await until(back, "it decides again")


async def test_a_server_that_hangs_holds_up_one_deadline_and_no_decision_is_lost(
    server: RedisServer, kits: list[Toolkit]
) -> None:
    limiter = limiter_of(kits[0])
    assert await limiter.take("k")
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        found = await asyncio.gather(*(limiter.take("k") for _ in range(120)))
        assert all(each.approximate for each in found)
        assert sum(each.allowed for each in found) == 100
        assert not (await limiter.take("k")).allowed
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


async def test_a_deadline_that_the_client_chooses_gains_nothing(
    server: RedisServer, kits: list[Toolkit], caplog: pytest.LogCaptureFixture
) -> None:
    """What the process admits alone would come in addition to what the store admits."""
    limiter = limiter_of(kits[0], "3/day")
    assert await admitted(limiter, "k", tries=10) == 3
    for within in (0.0, 1e-9):
        with deadline(within), pytest.raises(ToolkitAway) as caught:
            await limiter.take("k")
        assert caught.value.by_deadline
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with deadline(0.05), pytest.raises(ToolkitAway) as cut:
            await limiter.take("k")
        assert cut.value.by_deadline
        assert not kits[0].is_away
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert "this process alone decides" not in caplog.text
    assert not await limiter.take("k")


def test_blocking_code_takes_the_same_side(server: RedisServer) -> None:
    kit = Toolkit(server.url, clock=SystemClock(), timeout=2.0)
    limiter, closed = limiter_of(kit), limiter_of(kit, closed=True)
    assert not limiter.take_sync("k").approximate
    server.stop()
    assert limiter.take_sync("k").approximate
    with pytest.raises(ToolkitAway):
        closed.take_sync("k")


async def test_a_process_that_is_stopped_within_a_write_makes_the_file_be_away(tmp_path: Path) -> None:
    path = tmp_path / "toolkit.db"
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=2.0)
    limiter, closed = limiter_of(kit), limiter_of(kit, closed=True)
    await kit.check()
    before = await limiter.take("k")
    assert (before.allowed, before.approximate) == (True, False)
    with locked(path):
        assert (await limiter.take("k")).approximate
        with pytest.raises(ToolkitAway):
            await closed.take("k")

    async def exact() -> bool:
        return not (await limiter.take("probe")).approximate

    await until(exact, "the file decides again")
    await kit.close()
