"""A toolkit's store opens at its first use, on each loop and in each thread, and again after a close."""

from __future__ import annotations

import asyncio
from pathlib import Path

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.store import ToolkitStore
from tests.support.toolkit import Place, toolkit_at


async def kind(store: ToolkitStore) -> str:
    return store.shown


async def test_many_first_uses_open_it_once_and_a_use_after_a_close_opens_it_again(kit: Toolkit) -> None:
    kinds = await asyncio.gather(*(kit.use(kind) for _ in range(20)))
    assert len({*kinds}) == 1
    await kit.check()
    await kit.close()
    assert await kit.use(kind) == kinds[0]
    assert not kit.is_away


def test_blocking_code_and_short_loops_use_it(place: Place, tmp_path: Path) -> None:
    kit = toolkit_at(place, tmp_path, FakeClock())
    first = kit.use_sync(kind)
    assert asyncio.run(kit.use(kind)) == asyncio.run(kit.use(kind)) == kit.use_sync(kind) == first
