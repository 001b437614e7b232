"""Blocks of one guard object: each end finds its own beginning, in any task, generator, thread and exit stack."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing

import pytest

from outlast import Guard, GuardTimeout, deadline
from tests.support.fake_time import FakeTime


def guard_of(time: FakeTime, **policies: object) -> Guard:
    return Guard("payments", breaker=True, bulkhead=10, clock=time.now, **policies)  # type: ignore[arg-type]


def state(guard: Guard) -> tuple[int, int, int, int]:
    """Return calls, failures, calls in flight, permits in use."""
    assert guard._lane is not None
    assert guard._lane.permits is not None
    view = guard.view()
    return view.calls, view.failures, view.in_flight, guard._lane.permits.taken


def test_a_block_counts_as_a_call(time: FakeTime) -> None:
    guard = guard_of(time)

    async def main() -> None:
        async with guard:
            assert state(guard) == (0, 0, 1, 1)
        with guard:
            assert state(guard) == (1, 0, 1, 1)
        with pytest.raises(KeyError):
            async with guard:
                raise KeyError
        with pytest.raises(KeyError), guard:
            raise KeyError

    time.run(main)
    assert state(guard) == (4, 2, 0, 0)


def test_it_ends_past_the_timeout(time: FakeTime) -> None:
    guard = guard_of(time, timeout=2)

    async def main() -> None:
        with pytest.raises(GuardTimeout) as raised:
            async with guard:
                await asyncio.sleep(9)
        assert raised.value.timeout == 2
        with deadline(1.5), pytest.raises(GuardTimeout) as raised:
            async with guard:
                await asyncio.sleep(9)
        assert raised.value.timeout == 1.5
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    time.run(main)
    assert state(guard) == (2, 2, 0, 0)


def test_blocks_of_many_tasks_have_their_own_timeouts(time: FakeTime) -> None:
    guard = guard_of(time, timeout=2)

    async def block(seconds: float) -> str:
        try:
            async with guard:
                await asyncio.sleep(seconds)
        except GuardTimeout:
            return "ended"
        return "through"

    async def main() -> list[str]:
        return await asyncio.gather(*[block(seconds) for seconds in (1, 3, 1.9, 2.1, 0.5)])

    assert time.run(main) == ["through", "ended", "through", "ended", "through"]
    assert state(guard) == (5, 2, 0, 0)


def test_blocks_nest(time: FakeTime) -> None:
    guard = guard_of(time)

    async def main() -> None:
        async with guard, guard:
            with guard:
                assert state(guard) == (0, 0, 3, 3)

    time.run(main)
    assert state(guard) == (3, 0, 0, 0)


def test_a_task_that_is_cancelled_inside_is_neutral(time: FakeTime) -> None:
    guard = guard_of(time, timeout=60)

    async def block() -> None:
        async with guard:
            await asyncio.sleep(9)

    async def main() -> None:
        task = asyncio.create_task(block())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    time.run(main)
    assert state(guard) == (0, 0, 0, 0)


class TestGenerators:
    def test_one_that_is_abandoned_is_neutral_and_ends_its_own_block(self, time: FakeTime) -> None:
        """The loop closes it in another task, which is inside a block of its own."""
        guard = guard_of(time, timeout=60)

        async def rows() -> AsyncGenerator[int, None]:
            async with guard:
                yield 1
                yield 2

        async def main() -> None:
            async for _ in rows():
                break
            gc.collect()
            async with guard:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert state(guard) == (0, 0, 1, 1)  # the generator's has ended, this one has not

        time.run(main)
        assert state(guard) == (1, 0, 0, 0)

    def test_one_that_another_task_closes_inside_a_block(self, time: FakeTime) -> None:
        guard = guard_of(time, timeout=5)

        async def rows() -> AsyncGenerator[int, None]:
            async with guard:
                yield 1

        async def close(generator: AsyncGenerator[int, None]) -> None:
            time.at += 3
            async with guard:
                await generator.aclose()
                assert state(guard) == (0, 0, 1, 1)
                await asyncio.sleep(4)  # its own time begins with its own block

        async def main() -> None:
            generator = rows()
            await anext(generator)
            await asyncio.create_task(close(generator))

        time.run(main)
        assert state(guard) == (1, 0, 0, 0)

    def test_one_whose_consumer_has_a_block_open(self, time: FakeTime) -> None:
        guard = guard_of(time, timeout=5)

        async def rows() -> AsyncGenerator[int, None]:
            async with guard:
                yield 1

        async def main() -> None:
            with pytest.raises(GuardTimeout):
                async with aclosing(rows()) as generator:
                    await anext(generator)
                    await asyncio.sleep(3)
                    async with guard:
                        await generator.aclose()
                        await asyncio.sleep(9)
            assert time.at == 1008  # five seconds from its own begin

        time.run(main)
        assert state(guard) == (1, 1, 0, 0)

    def test_a_plain_one(self, time: FakeTime) -> None:
        guard = guard_of(time)

        def rows() -> Iterator[int]:
            with guard:
                yield 1

        generator = rows()
        next(generator)
        with guard:
            del generator
            gc.collect()
            assert state(guard) == (0, 0, 1, 1)
        assert state(guard) == (1, 0, 0, 0)


class TestExitStacks:
    def test_async(self, time: FakeTime) -> None:
        guard = guard_of(time, timeout=5)

        async def block(seconds: float) -> str:
            try:
                async with AsyncExitStack() as stack:
                    await stack.enter_async_context(guard)
                    await asyncio.sleep(seconds)
            except GuardTimeout:
                return "ended"
            return "through"

        async def main() -> list[str]:
            return await asyncio.gather(*[block(seconds) for seconds in (1, 9, 2, 9, 3)])

        assert time.run(main) == ["through", "ended", "through", "ended", "through"]
        assert state(guard) == (5, 2, 0, 0)

    def test_plain(self, time: FakeTime) -> None:
        guard = guard_of(time)
        with ExitStack() as stack:
            stack.enter_context(guard)
            with guard:
                pass
            assert state(guard) == (1, 0, 1, 1)
        assert state(guard) == (2, 0, 0, 0)


def test_blocks_of_threads_are_their_own(time: FakeTime) -> None:
    guard = guard_of(time)
    inside, leave = threading.Barrier(3), threading.Event()
    errors: list[BaseException] = []

    def block(fails: bool) -> None:
        try:
            with guard:
                inside.wait(10)
                leave.wait(10)
                if fails:
                    raise KeyError
        except KeyError as error:
            errors.append(error)

    threads = [threading.Thread(target=block, args=(fails,)) for fails in (True, False)]
    for each in threads:
        each.start()
    inside.wait(10)
    assert state(guard) == (0, 0, 2, 2)
    leave.set()
    for each in threads:
        each.join(10)
    assert state(guard) == (2, 1, 0, 0)
    assert len(errors) == 1


def test_an_end_without_a_beginning_does_nothing(time: FakeTime) -> None:
    guard = guard_of(time)
    guard.__exit__(None, None, None)
    assert state(guard) == (0, 0, 0, 0)
