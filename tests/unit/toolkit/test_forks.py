"""A forked process has a memory of its own, whatever a thread of the parent held at that moment."""

from __future__ import annotations

import asyncio
import threading

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.limiter.limiter import Limiter
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.store import ToolkitStore
from tests.support.forks import in_fork

multi_threaded = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


async def same(store: ToolkitStore) -> ToolkitStore:
    return store


def held(lock: threading.RLock, release: threading.Event) -> threading.Thread:
    """Return a thread that holds a lock until `release`."""
    holds = threading.Event()

    def hold() -> None:
        with lock:
            holds.set()
            release.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    holds.wait()
    return thread


@multi_threaded
def test_the_memory_of_a_toolkit_is_free_in_the_child() -> None:
    kit = Toolkit("memory:", clock=FakeClock(), timeout=1)
    limiter = Limiter(lambda: kit, "2/day", name="api")

    async def twice() -> list[bool]:
        return [bool(await limiter.take("k")) for _ in range(3)]

    store = asyncio.run(kit.use(same))
    assert isinstance(store, ToolkitMemory)
    assert asyncio.run(twice()) == [True, True, False]
    assert asyncio.run(kit.use(same)) is store, "another loop of this process has the same one"

    def works() -> bool:
        def own() -> bool:
            return asyncio.run(kit.use(same)) is not store and asyncio.run(twice()) == [True, True, False]

        done: list[bool] = []
        thread = threading.Thread(target=lambda: done.append(own()), daemon=True)
        thread.start()
        thread.join(60)
        return done == [True]

    release = threading.Event()
    thread = held(store.lock, release)
    try:
        assert in_fork(works)
    finally:
        release.set()
        thread.join()
    assert asyncio.run(twice()) == [False] * 3, "the child counts apart"


def test_two_threads_that_begin_at_once_have_one_memory() -> None:
    for _ in range(20):
        made: list[ToolkitStore] = []
        both = threading.Barrier(2)

        def connect(url: str, clock: object, both: threading.Barrier = both) -> ToolkitStore:
            both.wait(60)  # neither finds what the other has made
            return ToolkitMemory(FakeClock())

        kit = Toolkit("memory:", clock=FakeClock(), timeout=1, connect=connect)

        def use(kit: Toolkit = kit, made: list[ToolkitStore] = made) -> None:
            made.append(asyncio.run(kit.use(same)))

        threads = [threading.Thread(target=use) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made[0] is made[1]
