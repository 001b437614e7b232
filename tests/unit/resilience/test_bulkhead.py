"""The permits of a bulkhead: fair, bounded, never lost."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from outlast import Bulkhead, BulkheadFull, DeadlinePassed, Guard, deadline
from outlast.resilience.bulkhead import Permits
from tests.support.fake_time import FakeTime


def permits(concurrency: int = 1, **limits: Any) -> Permits:
    return Permits("payments", Bulkhead(concurrency, **{"max_wait": 10, "max_waiting": 20_000, **limits}))


def test_first_come_first_served_and_no_newcomer_passes(time: FakeTime) -> None:
    line = permits()
    order: list[int] = []

    async def call(number: int) -> None:
        await line.wait(None)
        order.append(number)

    async def main() -> None:
        assert line.take()
        calls = [asyncio.create_task(call(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert line.waiting == 5
        for done in range(5):
            line.give_back()
            assert not line.take()  # the permit is the first waiter's already
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert order == list(range(done + 1))
        line.give_back()
        await asyncio.gather(*calls)

    time.run(main)
    assert (line.taken, line.waiting) == (0, 0)


def test_the_wait_is_bounded_in_time(time: FakeTime) -> None:
    line = permits(max_wait=3)

    async def main() -> None:
        assert line.take()
        with pytest.raises(BulkheadFull) as raised:
            await line.wait(None)
        assert (time.at, raised.value.bound, raised.value.concurrency) == (1003, "max_wait", 1)
        with pytest.raises(BulkheadFull):
            await line.wait(0.5)
        assert time.at == pytest.approx(1003.5)

    time.run(main)
    assert (line.taken, line.waiting, line.refused) == (1, 0, 2)


@pytest.mark.parametrize("limits", [{"max_waiting": 0}, {"max_wait": 0}])
def test_the_line_is_bounded_in_length(time: FakeTime, limits: dict[str, Any]) -> None:
    line = permits(**limits)

    async def main() -> None:
        assert line.take()
        with pytest.raises(BulkheadFull):
            await line.wait(None)
        with pytest.raises(BulkheadFull):
            line.wait_blocking(None)

    time.run(main)
    assert time.at == 1000


def test_every_permit_returns_from_10_000_cancelled_waiters(time: FakeTime) -> None:
    line = permits(7)

    async def main() -> None:
        for _ in range(7):
            assert line.take()
        waiters = [asyncio.create_task(line.wait(None)) for _ in range(10_000)]
        await asyncio.sleep(0)
        assert line.waiting == 10_000
        for number, waiter in enumerate(waiters):
            if number in (0, 10, 5000, 9999):
                line.give_back()  # it is granted to the one that is cancelled next
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        assert all(waiter.cancelled() for waiter in waiters)
        assert (line.taken, line.waiting) == (3, 0)
        for _ in range(3):
            line.give_back()
        for _ in range(7):
            assert line.take()
        assert not line.take()

    time.run(main)


def test_a_permit_that_is_granted_to_a_cancelled_waiter_goes_to_the_next(time: FakeTime) -> None:
    line = permits()

    async def main() -> None:
        assert line.take()
        first, second = asyncio.create_task(line.wait(None)), asyncio.create_task(line.wait(None))
        await asyncio.sleep(0)
        line.give_back()
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert first.cancelled()
        assert line.taken == 1

    time.run(main)


def test_one_line_for_loops_and_threads() -> None:
    line = permits()
    got = threading.Event()
    order: list[str] = []

    def thread() -> None:
        line.wait_blocking(None)
        order.append("thread")
        line.give_back()
        got.set()

    async def main() -> None:
        assert line.take()
        first = asyncio.create_task(line.wait(None))
        await asyncio.sleep(0)
        other = threading.Thread(target=thread)
        other.start()
        while line.waiting < 2:
            await asyncio.sleep(0)
        line.give_back()
        await first
        order.append("loop")
        line.give_back()
        await asyncio.to_thread(got.wait, 10)
        other.join(10)
        last = threading.Thread(target=lambda: asyncio.run(line.wait(None)))
        last.start()
        await asyncio.to_thread(last.join, 10)

    asyncio.run(main())
    assert order == ["loop", "thread"]
    assert (line.taken, line.waiting) == (1, 0)


def test_a_blocked_thread_waits_no_longer_than_it_may() -> None:
    line = permits(max_wait=0.001)
    assert line.take()
    with pytest.raises(BulkheadFull):
        line.wait_blocking(None)
    assert (line.taken, line.waiting) == (1, 0)


def test_a_waiter_whose_loop_is_closed_loses_its_turn() -> None:
    line = permits()
    assert line.take()
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(line.wait(None))
    loop.run_until_complete(asyncio.sleep(0))
    assert line.waiting == 1
    loop.close()
    line.give_back()
    assert (line.taken, line.waiting) == (0, 0)
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]
    del waiter
    gc.collect()
    assert line.taken == 0
    assert line.take()


class TestOfAGuard:
    def test_more_calls_at_once_wait_or_are_refused(self, time: FakeTime) -> None:
        guard = Guard("payments", bulkhead=Bulkhead(2, max_wait=1, max_waiting=1), clock=time.now)
        running: list[int] = []

        async def slow(seconds: float) -> int:
            running.append(len(running))
            await asyncio.sleep(seconds)
            return 1

        async def main() -> None:
            calls = [asyncio.create_task(guard.call(slow, 0.5)) for _ in range(4)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(each).__name__ for each in ended] == ["int", "int", "int", "BulkheadFull"]

        time.run(main)
        assert time.at == 1001

    def test_a_full_one_never_counts_for_the_breaker(self, time: FakeTime) -> None:
        guard = Guard("payments", bulkhead=Bulkhead(1, max_wait=0), breaker=True, clock=time.now)

        async def main() -> None:
            async with guard:
                for _ in range(50):
                    with pytest.raises(BulkheadFull):
                        await guard.call(asyncio.sleep, 0)

        time.run(main)
        view = guard.view()
        assert (view.state, view.calls, view.failures) == ("closed", 1, 0)

    def test_a_deadline_that_passes_in_the_line_is_named(self, time: FakeTime) -> None:
        guard = Guard("payments", bulkhead=Bulkhead(1, max_wait=5), clock=time.now)

        async def main() -> None:
            async with guard:
                with deadline(1), pytest.raises(DeadlinePassed):
                    await guard.call(asyncio.sleep, 0)

        time.run(main)
        assert time.at == 1001

    def test_a_timed_out_blocking_call_keeps_its_permit_until_its_thread_ends(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout=1, bulkhead=Bulkhead(1, max_wait=0), clock=time.now)
        begun, end, ended = threading.Event(), threading.Event(), threading.Event()

        def block() -> None:
            begun.set()
            end.wait(10)
            ended.set()

        async def main() -> None:
            call = asyncio.create_task(guard.call(block))
            await asyncio.sleep(0)
            begun.wait(10)
            with pytest.raises(TimeoutError):
                await call
            with pytest.raises(BulkheadFull):
                await guard.call(asyncio.sleep, 0)
            end.set()
            ended.wait(10)
            while guard._lane is not None and guard._lane.permits is not None and guard._lane.permits.taken:
                pass  # the thread gives it back in its last steps
            await guard.call(asyncio.sleep, 0)

        time.run(main)

    def test_a_plain_call_that_no_thread_has_begun_is_never_made(self, time: FakeTime) -> None:
        guard = Guard("payments", timeout=1, breaker=True, key="number", clock=time.now)
        end = threading.Event()
        made: list[int] = []

        def block(number: int) -> None:
            made.append(number)
            end.wait(10)

        async def main() -> None:
            calls = [asyncio.create_task(guard.call(block, number)) for number in range(64)]
            await asyncio.sleep(0)
            while len(made) < 64:
                pass
            with pytest.raises(BulkheadFull):
                await guard.call(block, 64)
            await asyncio.gather(*calls, return_exceptions=True)
            end.set()

        time.run(main)
        assert sorted(made) == list(range(64))
        assert guard.of(64).view().failures == 0
        assert guard.of(63).view().failures == 1
