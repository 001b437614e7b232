"""A forked process has a memory of its own, whatever a thread of the parent held at that moment."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from outlast import Outlast, Settings
from outlast.aio import portal as portal_module
from outlast.testing.clock import FakeClock
from outlast.toolkit import access
from outlast.toolkit.access import Toolkit
from outlast.toolkit.limiter.limiter import Limiter
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.store import ToolkitStore
from tests.support.forks import held, in_fork

multi_threaded = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


async def same(store: ToolkitStore) -> ToolkitStore:
    return store


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
        return asyncio.run(kit.use(same)) is not store and asyncio.run(twice()) == [True, True, False]

    release = threading.Event()
    thread = held(store.lock, release)
    try:
        assert in_fork(works)
    finally:
        release.set()
        thread.join()
    assert asyncio.run(twice()) == [False] * 3, "the child counts apart"


@multi_threaded
def test_a_piece_that_is_being_made_is_free_in_the_child() -> None:
    kit, parent = Toolkit("memory:", clock=FakeClock(), timeout=1), os.getpid()
    begun, release = threading.Event(), threading.Event()

    def make(_: Toolkit) -> int:
        if os.getpid() == parent:
            begun.set()
            release.wait()
        return os.getpid()

    thread = threading.Thread(target=lambda: kit.piece(make), daemon=True)
    thread.start()
    begun.wait()
    try:
        assert in_fork(lambda: kit.piece(make) == os.getpid())
    finally:
        release.set()
        thread.join()
    assert kit.piece(make) == parent
    assert in_fork(lambda: kit.piece(make) == os.getpid()), "a child has none of its parent's, whose locks may be held"


@multi_threaded
def test_the_toolkit_of_an_app_is_free_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, parent = Outlast("shop", settings=Settings(url="memory:")), os.getpid()
    begun, release = threading.Event(), threading.Event()

    class Slow(Toolkit):
        def __init__(self, *given: Any, **options: Any) -> None:
            if os.getpid() == parent:
                begun.set()
                release.wait()
            super().__init__(*given, **options)

    monkeypatch.setattr(access, "Toolkit", Slow)
    shop.composer  # noqa: B018 - the settings are read
    making = threading.Thread(target=shop._toolkit, daemon=True)
    making.start()
    begun.wait()
    connecting = held(shop._wiring_locks[parent], release)
    try:
        assert in_fork(lambda: shop._toolkit() is shop._toolkit())
        shop._wiring = None
        assert in_fork(lambda: bool(shop.settings.url))
    finally:
        release.set()
        making.join()
        connecting.join()


@multi_threaded
def test_the_portal_is_free_in_the_child() -> None:
    """A thread may fork while another one asks for it."""

    async def works() -> bool:
        return True

    release = threading.Event()
    thread = held(portal_module._guard, release)
    try:
        assert in_fork(lambda: portal_module.portal().run(works))
    finally:
        release.set()
        thread.join()


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
