"""A toolkit's store opens at its first use, on each loop and in each thread, and again after a close."""

from __future__ import annotations

import asyncio
import gc
from functools import partialmethod
from pathlib import Path
from typing import Any, ClassVar
from weakref import ref

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.access import CacheAccess
from outlast.toolkit.file import ToolkitFile
from outlast.toolkit.memcached import ToolkitMemcached
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.toolkit import Place, toolkit_at


async def kind(store: ToolkitStore) -> str:
    return store.shown


async def itself(store: ToolkitStore) -> ToolkitStore:
    return store


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[ToolkitStore]:
    """The stores that were opened, those of other tests that still run in the background too."""
    opened: list[ToolkitStore] = []

    async def open_one(self: Any, of: Any) -> None:
        opened.append(self)
        await of(self)

    for store in (ToolkitMemory, ToolkitFile, ToolkitServer, ToolkitMemcached):
        monkeypatch.setattr(store, "open", partialmethod(open_one, store.open))
    return opened


async def test_many_first_uses_open_it_once_and_a_use_after_a_close_opens_it_again(
    kit: Toolkit, place: Place, opened: list[ToolkitStore]
) -> None:
    first = await asyncio.gather(*(kit.use(itself) for _ in range(20)))
    await kit.check()
    times = 0 if place.name == "memory" else 1
    assert all(each is first[0] for each in first)
    assert opened.count(first[0]) == times
    await kit.close()
    again = await kit.use(itself)
    assert (again is first[0]) == (place.name == "memory")
    assert opened.count(again) == times
    assert not kit.is_away


def test_blocking_code_and_short_loops_use_it(place: Place, tmp_path: Path) -> None:
    kit = toolkit_at(place, tmp_path, FakeClock())
    first = kit.use_sync(kind)
    assert asyncio.run(kit.use(kind)) == asyncio.run(kit.use(kind)) == kit.use_sync(kind) == first


class Answer:
    """A value that looks like a response of a server that has failed."""

    status_code = 503
    headers: ClassVar[dict[str, str]] = {}


async def test_no_value_counts_as_a_failure_of_the_store(kit: Toolkit) -> None:
    async def answer(_: ToolkitStore) -> Answer:
        return Answer()

    for _ in range(3):
        assert (await kit.use(answer)).status_code == 503
    assert not kit.is_away


async def test_the_forms_of_pieces_end_with_the_store_of_their_loop(place: Place, tmp_path: Path) -> None:
    kit = toolkit_at(place, tmp_path, FakeClock())
    cache = CacheAccess(kit, 1_000_000)
    stores: list[ref[ToolkitStore]] = []

    async def note(store: ToolkitStore) -> None:
        stores.append(ref(store))

    async def read() -> None:
        assert (await cache.look("product:7")).entry is None
        await kit.use(note)

    await asyncio.to_thread(asyncio.run, read())
    await kit.use(note)
    gc.collect()
    assert stores[0]() is stores[1]() if place.name == "memory" else stores[0]() is None
    await kit.close()
