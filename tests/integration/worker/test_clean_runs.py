"""Each run in a warm child process begins as the first one did: it is cleaned up after a run, or replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlast import Outlast
from tests.support.apps import dirty_app
from tests.support.apps.dirty_app import RECYCLED, RESTORED, dirty_jobs
from tests.support.working import record, working

TARGET = "tests.support.apps.dirty_app:app"


async def result(name: str, *args: Any) -> Any:
    return await (await dirty_jobs[name].enqueue(*args)).result(timeout=60)


async def make_dirty(app: Outlast, name: str) -> None:
    change = {**RESTORED, **RECYCLED}[name]
    is_async = asyncio.iscoroutinefunction(change) or name == "task that cannot be ended"
    job = await dirty_jobs["make_dirty_async" if is_async else "make_dirty"].enqueue(name)
    found = await record(app, job)
    assert (found.state, found.failures) == ("succeeded", ()), name


@pytest.mark.parametrize(("names", "same"), [(tuple(RESTORED), True), (tuple(RECYCLED), False)])
async def test_the_next_run_finds_nothing_of_the_last(names: tuple[str, ...], same: bool) -> None:
    app = dirty_app.app
    try:
        async with working(app, target=TARGET, processes=1):
            first, clean = await result("probe")
            loop = await result("probe_async")
            for name in names:
                await make_dirty(app, name)
                process, found = await result("probe")
                assert found == clean, name
                assert await result("probe_async") == loop, name
                assert (process == first) is same, name
                first = process
    finally:
        await app.close()
