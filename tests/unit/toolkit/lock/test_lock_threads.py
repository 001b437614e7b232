"""A lock is renewed while its loop is blocked, is given back after an interrupt, and belongs to no forked child."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast import LockLost, LockTimeout, Outlast, Settings, WrongThread, deadline, remaining
from outlast.aio.portal import portal
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.lock.locks import Locks
from outlast.toolkit.memory import ToolkitMemory
from tests.support.locks import asked, left, lock_of, places
from tests.support.polling import until


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def kit(clock: FakeClock) -> Iterator[Toolkit]:
    """A toolkit in memory."""
    yield Toolkit("", clock=clock, timeout=5, connect=lambda _, clock: ToolkitMemory(clock))


async def test_a_loop_that_is_blocked_keeps_its_lock(kit: Toolkit, clock: FakeClock) -> None:
    async with lock_of(kit) as lease:
        renewed = threading.Event()

        async def look() -> None:
            await until(lambda: lease.ends_at > clock.monotonic() + 8, "the lease is renewed")
            renewed.set()

        for _ in range(5):
            renewed.clear()
            clock.advance(4)
            portal().submit(look)
            assert renewed.wait(30), "this blocks the loop of the holder"
        lease.check()


async def test_a_wait_ends_at_the_deadline_around_it(kit: Toolkit, clock: FakeClock) -> None:
    await asked(kit, "holder", lease=1000.0)
    with deadline(0), pytest.raises(LockTimeout):
        await lock_of(kit).__aenter__()


async def test_a_with_on_the_loops_thread_is_refused(kit: Toolkit) -> None:
    with pytest.raises(WrongThread), lock_of(kit):
        raise AssertionError("it would block the loop")
    assert await places(kit) == 0


async def test_the_end_of_a_block_that_was_entered_elsewhere_is_refused(kit: Toolkit) -> None:
    lock = lock_of(kit)
    await asyncio.create_task(lock.__aenter__())
    with pytest.raises(RuntimeError, match=r"wait= instead of asyncio\.wait_for"):
        await lock.__aexit__(None, None, None)


async def test_many_tasks_and_nested_blocks_share_one_object(kit: Toolkit) -> None:
    two = lock_of(kit, kind="semaphore", slots=2)
    tokens: list[int] = []

    async def one() -> None:
        async with two as lease:
            tokens.append(lease.token)
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(10)))
    async with two as outer, two as inner:
        assert inner.token > outer.token
        assert await places(kit) == 2
    assert len({*tokens}) == 10
    assert await places(kit) == 0


async def test_an_interrupted_wait_in_a_thread_takes_nothing(kit: Toolkit, monkeypatch: pytest.MonkeyPatch) -> None:
    await asked(kit, "holder")
    waits = threading.Event()
    real = portal().submit

    def interrupted(work: object) -> object:
        future = real(work)  # type: ignore[arg-type,var-annotated]

        class Interrupted:
            def result(self) -> None:
                waits.wait(30)
                raise KeyboardInterrupt

            def cancel(self) -> bool:
                return future.cancel()

        return Interrupted()

    def blocking() -> str:
        try:
            with lock_of(kit):
                return "taken"
        except KeyboardInterrupt:
            return "interrupted"

    monkeypatch.setattr(portal(), "submit", interrupted)
    ends = asyncio.create_task(asyncio.to_thread(blocking))
    await until(lambda: _places(kit, 2), "the thread waits")
    monkeypatch.setattr(portal(), "submit", real)
    waits.set()
    assert await ends == "interrupted"
    await until(lambda: _places(kit, 1), "it has left the line")
    await left(kit, "holder")
    assert await places(kit) == 0


async def _places(kit: Toolkit, number: int) -> bool:
    return await places(kit) == number


async def test_a_forked_child_neither_renews_nor_gives_back_what_its_parent_holds(
    kit: Toolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.getpid()
    with pytest.raises(LockLost, match="belongs to the process that was forked"):
        async with lock_of(kit) as lease:
            monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    renewals = kit.piece(Locks).renewals
    other = await lock_of(kit, "other").__aenter__()
    assert renewals.leases() == [other]
    monkeypatch.undo()
    assert await places(kit) == 1
    assert not lease.lost


async def test_a_deadline_bounds_neither_renewals_nor_the_release(clock: FakeClock, tmp_path: Path) -> None:
    kit = Toolkit(f"sqlite:{tmp_path}/toolkit.db", clock=clock, timeout=30)
    with deadline(3):
        async with lock_of(kit) as lease:
            await until(lambda: remaining() == 0, "the deadline has passed")
            clock.advance(4)
            await until(lambda: lease.ends_at > clock.monotonic() + 8, "the lease is renewed")
    assert await places(kit) == 0
    await kit.close()
    await portal().visit(kit.close)


async def test_the_app_of_a_test_has_locks_in_memory() -> None:
    shop = Outlast("shop", settings=Settings(url="memory:"))
    with shop.testing():
        async with shop.lock("stock:7", wait=0) as lease:
            assert lease.token > 0
            with pytest.raises(LockTimeout):
                async with shop.lock("stock:7", wait=0):
                    raise AssertionError("it is held")
        async with shop.semaphore("mail", 2), shop.semaphore("mail", 2):
            pass

        async def work(lease: object) -> str:
            return "done"

        assert await shop.leader("reports").run(work) == "done"
