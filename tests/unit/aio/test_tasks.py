"""Ending tasks together, and waiting for one with a limit and interrupts."""

from __future__ import annotations

import asyncio

import pytest

from outlast.aio.tasks import cancel, ended_within


async def fail() -> None:
    raise ValueError("failed")


async def test_cancelled_tasks_have_ended_and_give_what_they_raised() -> None:
    tasks = [asyncio.ensure_future(each) for each in (asyncio.Event().wait(), fail())]
    await asyncio.wait(tasks[1:])
    first, second = await cancel(*tasks)
    assert all(task.done() for task in tasks)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, ValueError)


async def test_an_end_an_interrupt_and_the_limit_each_end_the_wait() -> None:
    done, never = asyncio.Event(), asyncio.Event()
    done.set()
    assert await ended_within(None, done.wait(), never.wait())
    assert not await ended_within(None, never.wait(), done.wait())
    assert not await ended_within(0.0, never.wait())


async def test_nothing_is_left_running_when_the_wait_is_cancelled() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    waiting = asyncio.ensure_future(ended_within(None, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen == ["ended"]
