"""What the code of a job sets in its context is its own: no other job, observer or log line sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from outlast import CallNext, Context, Job, Outlast, Settings
from outlast.core.events import JobEnded, JobStarted
from tests.support.working import record, working

TENANT: ContextVar[int | None] = ContextVar("tenant", default=None)


def on_the_loop(shop: Outlast, seen: Callable[[int | None], None]) -> Job[[int], None]:
    @shop.job
    async def work(number: int) -> None:
        seen(TENANT.get())
        TENANT.set(number)
        await asyncio.sleep(0)

    return work


def on_the_loop_without_a_wait(shop: Outlast, seen: Callable[[int | None], None]) -> Job[[int], None]:
    @shop.job
    async def work(number: int) -> None:
        seen(TENANT.get())
        TENANT.set(number)

    return work


def in_a_thread(shop: Outlast, seen: Callable[[int | None], None]) -> Job[[int], None]:
    @shop.job
    def work(number: int) -> None:
        seen(TENANT.get())
        TENANT.set(number)

    return work


def in_middleware(shop: Outlast, seen: Callable[[int | None], None]) -> Job[[int], None]:
    @shop.middleware
    async def around(ctx: Context, call_next: CallNext) -> object:
        seen(TENANT.get())
        TENANT.set(1)
        return await call_next()

    @shop.job
    def work(number: int) -> None:
        assert TENANT.get() == 1

    return work


@pytest.mark.parametrize(
    "declared", [on_the_loop, on_the_loop_without_a_wait, in_a_thread, in_middleware], ids=lambda each: each.__name__
)
async def test_a_job_begins_without_what_others_have_set(
    declared: Callable[[Outlast, Callable[[int | None], None]], Job[[int], None]],
) -> None:
    shop, jobs, observers = Outlast("shop", settings=Settings(url="memory:")), list[int | None](), list[int | None]()
    shop.observe(JobStarted, JobEnded)(lambda _: observers.append(TENANT.get()))
    work = declared(shop, jobs.append)
    async with shop:
        handles = await shop.enqueue_many(work.message(number) for number in range(60))
        async with working(shop, concurrency=3):
            for each in handles:
                assert (await record(shop, each)).state == "succeeded"
    assert jobs == [None] * 60
    assert observers == [None] * 120
