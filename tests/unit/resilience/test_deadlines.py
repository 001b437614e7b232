"""Deadlines nest, and travel into tasks and threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from outlast import ConfigurationError, DeadlinePassed, Guard, GuardTimeout, deadline, remaining
from outlast.resilience.deadlines import ends_at
from tests.support.fake_time import FakeTime


def test_the_shorter_one_holds(time: FakeTime) -> None:
    assert remaining() is None
    with deadline("5s"):
        assert remaining() == 5
        time.at += 1
        with deadline(10):
            assert remaining() == 4
            with deadline(2):
                assert remaining() == 2
            with deadline(None):
                assert remaining() == 4
        time.at += 9
        assert remaining() == 0
    assert remaining() is None


def test_it_travels_into_tasks_and_threads(time: FakeTime) -> None:
    async def main() -> tuple[float | None, ...]:
        with deadline(3):
            task = asyncio.create_task(left())
            with ThreadPoolExecutor(1) as pool:  # the loop's own is waited for by its clock, which a test moves
                thread = await asyncio.get_running_loop().run_in_executor(
                    pool, contextvars.copy_context().run, remaining
                )
        return await task, thread, await left()

    async def left() -> float | None:
        return remaining()

    assert time.run(main) == (3, 3, None)


@pytest.mark.parametrize("seconds", [-1, "soon", float("nan"), True])
def test_what_is_no_duration_is_refused(seconds: object) -> None:
    with pytest.raises(ConfigurationError, match=r"deadline\(within\)"):
        deadline(seconds)  # type: ignore[arg-type]


def test_a_generator_that_another_context_closes_leaves_that_one_alone(time: FakeTime) -> None:
    def slow() -> Iterator[None]:
        with deadline(5):
            yield

    generator = slow()
    contextvars.copy_context().run(next, generator)
    with deadline(2):
        generator.close()  # type: ignore[attr-defined]
        assert remaining() == 2


def test_a_call_past_its_deadline_is_not_made(time: FakeTime) -> None:
    calls: list[int] = []
    guard = Guard("payments", breaker=True, clock=time.now)

    async def main() -> None:
        with deadline(1):
            time.at += 1.5
            with pytest.raises(DeadlinePassed) as raised:
                await guard.call(calls.append, 1)
            with pytest.raises(DeadlinePassed):
                guard.call_sync(calls.append, 1)
            with pytest.raises(DeadlinePassed), guard:
                pass
            with pytest.raises(DeadlinePassed):
                async with guard:
                    pass
        assert raised.value.late == pytest.approx(0.5)
        assert isinstance(raised.value, TimeoutError)

    time.run(main)
    assert calls == []
    assert guard.view().calls == 0


@pytest.mark.parametrize(("timeout", "given"), [(None, 2), (5, 2), (1, 1)])
def test_a_call_gets_at_most_what_is_left(time: FakeTime, timeout: float | None, given: float) -> None:
    guard = Guard("payments", timeout=timeout, clock=time.now)

    async def main() -> None:
        with deadline(2), pytest.raises(GuardTimeout) as raised:
            await guard.call(asyncio.sleep, 60)
        assert raised.value.timeout == given
        assert time.at == pytest.approx(1000 + given)
        assert ("its caller left" in str(getattr(raised.value, "__notes__", ""))) is (given == 2)

    time.run(main)


@pytest.mark.parametrize(("left", "failures"), [(2.0, 1), (0.4, 0)])
def test_a_call_that_was_given_too_little_says_nothing_of_the_dependency(
    time: FakeTime, left: float, failures: int
) -> None:
    guard = Guard("payments", timeout=2.5, breaker=True, clock=time.now)

    async def main() -> None:
        with deadline(left), pytest.raises(GuardTimeout):
            await guard.call(asyncio.sleep, 60)

    time.run(main)
    assert guard.view().failures == failures


def test_a_thread_of_a_guard_has_the_deadline_of_its_call(time: FakeTime) -> None:
    guard = Guard("payments", timeout=2, clock=time.now)

    async def main() -> list[float | None]:
        with deadline(5):
            return [await guard.call(remaining), guard.call_sync(remaining), remaining()]

    assert asyncio.run(main()) == [2, 2, 5]  # the clock of the loop must not jump while the thread works


def test_it_is_replaced_where_work_begins_that_is_not_the_callers(time: FakeTime) -> None:
    def run() -> float | None:
        ends_at(None)
        return remaining()

    with deadline(5):
        assert contextvars.copy_context().run(run) is None
        assert remaining() == 5


def test_one_deadline_bounds_one_block_at_a_time(time: FakeTime) -> None:
    bound = deadline(2)
    for _ in range(2):
        with bound:
            with pytest.raises(RuntimeError, match="bounds another block"), bound:
                raise AssertionError
            assert remaining() == 2
        assert remaining() is None
