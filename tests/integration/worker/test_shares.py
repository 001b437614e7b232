"""A slow tenant, queue or dependency keeps to its share of a worker: whatever bounds it, other jobs find a slot."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from outlast import Bulkhead, Limit
from tests.support.polling import until
from tests.support.working import new_app, record, working

By = Literal["guard", "key", "queue"]
SLOTS, SHARE = 4, 2


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("other", ["guard", "key", "queue"])
@pytest.mark.parametrize("slow", ["guard", "key", "queue"])
async def test_what_is_slow_takes_its_share_of_the_slots_and_no_more(
    slow: By, other: By, store: str, tmp_path: Path
) -> None:
    """slow: what bounds the jobs that hang. other: what the job that must run has for itself."""
    shop = new_app("memory:" if store == "memory" else f"sqlite:{tmp_path}/jobs.db")
    sick = shop.guard("sick", bulkhead=Bulkhead(SHARE, max_wait=0))
    sound = shop.guard("sound", bulkhead=Bulkhead(SHARE, max_wait=0))
    bounds: dict[str, Any] = {"queue": {"concurrency": SHARE}, "key": {"per_key": Limit(concurrency=SHARE)}}
    shop.queue("slow", **bounds.get(slow, {}))
    apart = other == "queue" or slow == "queue"  # a bound of the queue is for all of its jobs
    queue = "others" if apart else "slow"
    end, hanging, most = asyncio.Event(), 0, 0

    async def hang() -> None:
        nonlocal hanging, most
        hanging += 1
        most = max(most, hanging)
        await end.wait()
        hanging -= 1

    @shop.job(queue="slow", key="tenant")
    async def hangs(tenant: str) -> None:
        await (sick.call(hang) if slow == "guard" else hang())

    async def nothing() -> None: ...

    @shop.job(queue=queue, key="tenant")
    async def quick(tenant: str) -> None:
        await (sound.call(nothing) if other == "guard" else nothing())

    async with working(shop, concurrency=SLOTS):
        jobs = [await hangs.enqueue("big") for _ in range(10)]
        await until(lambda: hanging == SHARE, "the slow jobs have their share")
        others = [await quick.enqueue("small" if other == "key" or slow == "key" else "big") for _ in range(10)]
        assert {(await record(shop, job)).state for job in others} == {"succeeded"}
        assert (hanging, most) == (SHARE, SHARE)
        end.set()
        ended = [await record(shop, job) for job in jobs]
    assert {(each.state, each.attempt) for each in ended} == {("succeeded", 1)}
    assert most == SHARE
