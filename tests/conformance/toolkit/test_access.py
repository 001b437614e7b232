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
from outlast.toolkit.memcached import ToolkitMemcached
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.store import ToolkitStore
from tests.support.toolkit import Place, toolkit_at


async def kind(store: ToolkitStore) -> str:
    return store.shown


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stores that were opened."""
    opened: list[str] = []

    async def open_one(self: Any, of: Any) -> None:
        opened.append(self.shown)
        await of(self)

    for store in (ToolkitMemory, ToolkitFile, ToolkitServer, ToolkitMemcached):
        monkeypatch.setattr(store, "open", partialmethod(open_one, store.open))
    return opened


async def test_many_first_uses_open_it_once_and_a_use_after_a_close_opens_it_again(
    kit: Toolkit, place: Place, opened: list[str]
) -> None:
    kinds = await asyncio.gather(*(kit.use(kind) for _ in range(20)))
    await kit.check()
    assert opened == ([] if place.name == "memory" else kinds[:1])
    await kit.close()
    assert await kit.use(kind) == kinds[0]
    assert opened == ([] if place.name == "memory" else kinds[:2])
    assert not kit.is_away


def test_blocking_code_and_short_loops_use_it(place: Place, tmp_path: Path) -> None:
    kit = toolkit_at(place, tmp_path, FakeClock())
    first = kit.use_sync(kind)
    assert asyncio.run(kit.use(kind)) == asyncio.run(kit.use(kind)) == kit.use_sync(kind) == first
