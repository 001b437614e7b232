"""Run a worker inside a test, and read what became of its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from outlast import Outlast
from outlast.core.store.records import JobRecord
from outlast.enqueue.handle import Handle
from outlast.settings import Settings
from outlast.worker import Worker

__all__ = ["new_app", "record", "working"]


def new_app(url: str, **settings: Any) -> Outlast:
    """Return an empty app on this store, with a short grace."""
    return Outlast("tests", settings=Settings(url=url, **{"drain_grace": 10.0, "processes": 2, **settings}))


@asynccontextmanager
async def working(app: Outlast, **options: Any) -> AsyncIterator[Worker]:
    """Run a worker of the app in this loop within the block; leaving it drains."""
    stop = asyncio.Event()
    worker = Worker(await app.runtime(), **options)
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def record(app: Outlast, job: Handle[Any] | str, *, within: float = 90.0) -> JobRecord:
    """Return the record of a job when it has ended; AssertionError if it has not within so many seconds."""
    job_id = job if isinstance(job, str) else job.id
    store = (await app.runtime()).store
    (found,) = await store.records.wait([job_id], within)
    assert found is not None, f"{job_id} is not known"
    assert found.finished_at is not None, f"{job_id} has not ended: {found}"
    return found
