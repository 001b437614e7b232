"""The doorbells beside a file, wherever it lies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlast.brokers.sqlite.bell import Bells, Listener


@pytest.mark.parametrize("length", range(60, 130, 3))
async def test_a_ring_is_heard_however_long_the_path_is(tmp_path: Path, length: int) -> None:
    folder = Path("/tmp") / tmp_path.parent.name  # pytest's own is too long to try the short ones
    path = f"{folder}-{tmp_path.name}".ljust(length, "x")[:length]
    heard = asyncio.Event()
    listener = Listener(Bells(path), "schedule", heard.set)
    bells = Bells(path)
    listener.open()
    try:
        bells.ring("schedule")
        await asyncio.wait_for(heard.wait(), 10)
    finally:
        listener.close()
        bells.close()
        bells.folder.rmdir()
