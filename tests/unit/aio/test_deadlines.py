"""Deadlines: a block ends at its own time, whatever others there are, and a cancellation from elsewhere stays one."""

from __future__ import annotations

import asyncio

import pytest

from outlast.aio.deadlines import Deadlines

LONG = 600.0


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_block_that_takes_too_long_raises_timeout_error() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.within(0.001):
        await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_no_time_at_all_is_over_at_the_first_wait() -> None:
    with pytest.raises(TimeoutError), Deadlines().within(0):
        await forever()


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with deadlines.within(0.001):
        pass
    with pytest.raises(TimeoutError), deadlines.within(0.01):
        await forever()  # the timer of the first has fired meanwhile


async def test_each_of_many_ends_at_its_own_time_in_any_order() -> None:
    deadlines = Deadlines()
    ended: list[float] = []

    async def call(seconds: float) -> None:
        try:
            with deadlines.within(seconds):
                await forever()
        except TimeoutError:
            ended.append(seconds)

    calls = [asyncio.create_task(call(seconds)) for seconds in (LONG, 0.06, 0.001, 0.03, LONG)]
    await asyncio.wait(calls[1:4])
    assert ended == [0.001, 0.03, 0.06]
    for each in calls:
        each.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [each.cancelled() for each in calls] == [True, False, False, False, True]


async def test_who_is_cancelled_meanwhile_stays_cancelled() -> None:
    deadlines = Deadlines()

    async def call() -> None:
        with deadlines.within(0):
            await forever()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_block_raises_at_its_deadline_goes_through() -> None:
    with pytest.raises(ValueError, match="broken"), Deadlines().within(0):
        try:
            await forever()
        except asyncio.CancelledError:
            raise ValueError("broken") from None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_another_loop_has_another_timer() -> None:
    deadlines = Deadlines()

    async def call(seconds: float) -> None:
        with deadlines.within(seconds):
            await (asyncio.sleep(0) if seconds == LONG else forever())

    asyncio.run(call(LONG))
    with pytest.raises(TimeoutError):
        asyncio.run(call(0.001))


def test_without_a_task_there_is_nothing_to_cancel() -> None:
    loop = asyncio.new_event_loop()
    told: list[object] = []

    def begin() -> None:
        try:
            Deadlines().within(1)
        except RuntimeError as error:
            told.append(error)
        loop.stop()

    loop.call_soon(begin)
    loop.run_forever()
    loop.close()
    assert len(told) == 1
