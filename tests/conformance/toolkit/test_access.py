"""A toolkit's store opens at its first use, on each loop and in each thread, and again after a close."""

from __future__ import annotations

import asyncio
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import ToolkitFile
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

    for store in (ToolkitMemory, ToolkitFile, ToolkitServer):
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
