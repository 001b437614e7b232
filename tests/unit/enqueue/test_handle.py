"""What a handle makes of a record."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from msgspec import Raw

from outlast import Constant, Context, JobFailed, Outlast, Retry, Settings
from outlast.core.message import Holder
from outlast.core.settlement import Finish


class Unreadable(Exception):
    """The name that the records give to content that cannot be read."""


async def test_a_handler_may_raise_an_exception_of_any_name_and_then_return_none() -> None:
    shop = Outlast("handle")

    @shop.job(retry=Retry(attempts=2, backoff=Constant(0)))
    async def read(ctx: Context) -> str | None:
        if ctx.attempt == 1:
            raise Unreadable("its result cannot be read (ValueError: not ours)")
        return None

    with shop.testing() as t:
        job = await read.enqueue()
        await t.drain()
        assert await job.result(0) is None


async def test_a_result_that_is_damaged_is_told_as_unreadable(tmp_path: Path) -> None:
    shop = Outlast("handle", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db"))

    @shop.job
    async def read() -> int:
        return 7

    async with shop:
        job = await read.enqueue()
        broker = (await shop.runtime()).store.broker
        (delivery,) = await broker.claim({job.queue: 1}, limit=1, holder=Holder("a" * 32, "a"), lease=10, wait=1)
        assert await broker.settle([Finish(delivery.fence, "succeeded", result=Raw(b"7"))]) == []
        assert await job.result(1) == 7
        db = apsw.Connection(f"{tmp_path}/jobs.db")
        db.execute("update job set result = '7}'")
        db.close()
        with pytest.raises(JobFailed, match=r"\(unreadable\): its result cannot be read"):
            await job.result(1)
