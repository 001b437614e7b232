"""The first use of a store that is slow to open, and a close while calls run: neither says that the store is away."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.clients.sqlite import connection
from outlast.core.toolkit_errors import ToolkitAway
from outlast.resilience.deadlines import deadline
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.store import ToolkitStore
from tests.support.polling import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toolkit.db"


@pytest.fixture
async def kit(path: Path) -> AsyncIterator[Toolkit]:
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=300)
    yield kit
    await kit.close()


class Creation:
    """The lock that a process holds while it creates or migrates the file."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def end(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@pytest.fixture
def creation(path: Path) -> Iterator[Creation]:
    creation = Creation(path)
    yield creation
    creation.end()


async def read(store: ToolkitStore) -> list[tuple[object, ...]]:
    assert isinstance(store, ToolkitFile)
    return await store.read("select 1")


async def test_the_opening_goes_on_when_the_deadline_of_its_caller_has_passed(kit: Toolkit, creation: Creation) -> None:
    """Callers that all have less time than the opening needs would never open the file."""

    async def ended_while_it_opens() -> bool:
        """On a busy machine the deadline may pass before the opening begins: another call begins it then."""
        with deadline(0.02), pytest.raises(ToolkitAway) as caught:
            await kit.use(read)
        assert caught.value.by_deadline
        assert not kit.is_away
        opened = kit._loops.here()
        return opened is not None and opened._attempt is not None

    await until(ended_while_it_opens, "a deadline passes while the file is being opened")
    with deadline(0.0001), pytest.raises(ToolkitAway) as later:
        await kit.use(read)
    assert later.value.by_deadline
    opened = kit._loops.here()
    assert opened is not None
    creation.end()

    async def ready() -> bool:
        return opened.ready

    await until(ready, "the file is open without a further call")


async def test_an_opening_that_takes_too_long_names_the_setting(path: Path, creation: Creation) -> None:
    kit = Toolkit(f"sqlite:{path}", clock=SystemClock(), timeout=0.1)
    with pytest.raises(ToolkitAway):
        await kit.check()
    opened = kit._loops.here()
    assert opened is not None
    with pytest.raises(Exception, match=r"could not be opened within 0\.1 s \(toolkit_timeout\)"):
        await opened.open()
    creation.end()
    await kit.close()


async def test_a_close_during_calls_does_not_refuse_the_next_ones(kit: Toolkit, creation: Creation) -> None:
    waiting = [asyncio.create_task(kit.use(read)) for _ in range(5)]

    async def begun() -> bool:
        opened = kit._loops.here()
        return opened is not None and opened._attempt is not None

    await until(begun, "the file is being opened")
    await kit.close()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, ToolkitAway) and "closed in this process" in str(each) for each in found), found
    assert not kit.is_away
    creation.end()
    assert await kit.use(read) == [(1,)]


async def test_a_read_on_the_loop_waits_for_no_process_that_creates_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CREATION_WAIT", 0.0)
    store = ToolkitFile(str(path), SystemClock())
    await store.open()
    creation = Creation(path)
    assert store.read_row("select 1") == (1,)
    creation.end()
    await store.close()
