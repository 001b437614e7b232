"""What runs used: CPU seconds in threads and on the loop when asked for, of a process of its own always."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from outlast import Outlast, Retry
from outlast.core.events import JobEnded
from outlast.core.message import Usage
from outlast.worker.usage import Meter
from tests.support.apps.isolated_app import build_jobs
from tests.support.working import new_app, record, working


def burn(seconds: float) -> None:
    """Use so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@asynccontextmanager
async def measured(url: str, *, measure: bool) -> AsyncIterator[tuple[dict[str, Usage | None], list[JobEnded]]]:
    """Run one job of each sort, and give what is kept of each."""
    app = new_app(url, measure=measure)
    told: list[JobEnded] = []
    app.observe(lambda event: told.append(event) if isinstance(event, JobEnded) else None)

    @app.job
    async def coroutine() -> None:
        burn(0.02)
        await asyncio.sleep(0.03)
        burn(0.02)

    @app.job
    def thread() -> None:
        burn(0.04)

    @app.job
    async def nothing() -> None: ...

    jobs = {"coroutine": coroutine, "thread": thread, "nothing": nothing}
    async with app:
        async with working(app):
            found = {name: (await record(app, await job.enqueue())).usage for name, job in jobs.items()}
        yield found, told


async def test_cpu_seconds_are_kept_of_runs_that_used_some(url: str) -> None:
    async with measured(url, measure=True) as (found, told):
        for name in ("coroutine", "thread"):
            used = found[name]
            assert used is not None
            assert 0.03 < used.cpu <= used.wall + 0.01
            assert used.peak is None
        assert found["nothing"] is None
        assert [event.usage for event in told] == list(found.values())


async def test_nothing_is_measured_unless_asked_for(url: str) -> None:
    async with measured(url, measure=False) as (found, _):
        assert set(found.values()) == {None}


async def test_a_failed_run_is_measured_too(url: str) -> None:
    app = new_app(url, measure=True)

    @app.job(retry=Retry(attempts=1))
    async def fails() -> None:
        burn(0.02)
        raise RuntimeError("no")

    async with app, working(app):
        found = await record(app, await fails.enqueue())
    assert found.state == "dead"
    assert found.usage is not None
    assert found.failures[0].traceback.count("test_usage.py") == 1
    assert "outlast/worker" not in found.failures[0].traceback


async def test_a_process_of_its_own_tells_its_cpu_and_its_memory(isolated: Outlast) -> None:
    async with working(isolated, target="tests.support.apps.isolated_app:app", processes=1):
        small = await record(isolated, await build_jobs["hungry"].enqueue(0), within=60)
        large = await record(isolated, await build_jobs["hungry"].enqueue(64), within=60)
        again = await record(isolated, await build_jobs["hungry"].enqueue(0), within=60)
    assert small.usage is not None
    assert large.usage is not None
    assert again.usage is not None
    assert small.usage.peak is not None
    assert large.usage.peak is not None
    assert large.usage.peak - small.usage.peak > 50 << 20
    assert again.usage.peak is not None
    assert 0 < large.usage.cpu < 30


async def test_a_metered_coroutine_is_cancelled_and_times_out_as_any_other() -> None:
    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            raise
        return "never"

    meter = Meter(waits())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await meter
    assert meter.used > 0

    async def inner() -> str:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
        return "never"

    with pytest.raises(TimeoutError):
        await Meter(inner())

    async def survives() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "caught"
        return "never"

    task = asyncio.ensure_future(_awaited(survives()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "caught"


async def _awaited(coroutine: Coroutine[Any, Any, str]) -> str:
    return await Meter(coroutine)
