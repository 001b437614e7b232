"""An event loop that ends leaves nothing behind: no descriptor, no thread, no warning; the next one works."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from outlast import Outlast
from outlast.clients.sqlite.runtime_folder import runtime_folder
from outlast.enqueue.job import Job
from outlast.settings import Settings
from tests.support.servers.redis_server import shared_server

LOOPS = 12


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store that keeps files or connections open."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/jobs.db"
    return f"{shared_server().users_url}?namespace={tmp_path.name.strip('_')}"


@pytest.fixture
def note(url: str) -> Job[[int], None]:
    """A job of an app that no test opens or closes."""
    shop = Outlast("loops", settings=Settings(url=url))

    @shop.job
    async def note(n: int) -> None: ...

    return note


def held() -> tuple[int, int]:
    """Return how many descriptors and threads this process has."""
    gc.collect()
    folder = Path("/proc/self/fd")
    return len(list((folder if folder.exists() else Path("/dev/fd")).iterdir())), threading.active_count()


def left_behind(loop: Callable[[], object]) -> tuple[int, int]:
    """Return how many more descriptors and threads there are after many loops than after one."""
    loop()
    before = held()
    for _ in range(LOOPS):
        loop()
    after = held()
    return max(0, after[0] - before[0]), max(0, after[1] - before[1])


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., object]]:
    yield request.param


def test_a_loop_that_enqueued_leaves_nothing(note: Job[[int], None], run: Callable[..., object]) -> None:
    run(note.enqueue(0))  # the libraries open files of their own once
    assert left_behind(lambda: run(note.enqueue(1))) == (0, 0)


def test_a_loop_that_waited_for_a_result_leaves_nothing(note: Job[[int], None], run: Callable[..., object]) -> None:
    async def main() -> None:
        handle = await note.enqueue(1)
        waiting = asyncio.ensure_future(handle.result(timeout=60))
        await handle.status()
        waiting.cancel()

    run(main())
    assert left_behind(lambda: run(main())) == (0, 0)


def test_a_loop_that_raised_leaves_nothing(note: Job[[int], None]) -> None:
    async def main() -> None:
        await note.enqueue(1)
        raise KeyError

    def loop() -> None:
        with pytest.raises(KeyError):
            asyncio.run(main())

    assert left_behind(loop) == (0, 0)


def test_a_loop_that_was_only_closed_is_cleared_by_the_next(tmp_path: Path) -> None:
    """Without `shutdown_asyncgens`. Redis has connections that only their own loop can end."""
    shop = Outlast("loops", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db"))

    @shop.job
    async def note(n: int) -> None: ...

    def loop() -> None:
        mine = asyncio.new_event_loop()
        mine.run_until_complete(note.enqueue(1))
        mine.close()

    assert left_behind(loop) == (0, 0)
    asyncio.run(note.enqueue(1))
    sockets = runtime_folder(f"{tmp_path}/jobs.db")
    assert not [each for each in sockets.iterdir() if each.name.startswith("work")]
    assert not (tmp_path / "jobs.db-wal").exists(), "the file was closed"


async def test_a_store_that_other_loops_use_stays_open() -> None:
    """The memory store is one for all loops."""
    shop = Outlast("loops", settings=Settings(url="memory:"))

    @shop.job
    async def note(n: int) -> None: ...

    handle = await note.enqueue(1)
    await asyncio.to_thread(lambda: asyncio.run(note.enqueue(2)))
    assert await shop.handle(handle.id).status() == "ready"
    await shop.close()
