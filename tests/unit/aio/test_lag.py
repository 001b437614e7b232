"""How late an event loop is: one timer for each loop, none at rest, and no long callback alone is lag."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
import uvloop

from outlast.aio import lag
from outlast.aio.lag import TICK, LoopLag, lag_of
from tests.support.fake_time import FakeTime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(lag, "monotonic", clock.now)
    return clock


def timers() -> int:
    """The timers of the running loop."""
    loop: Any = asyncio.get_running_loop()
    return len([each for each in loop._scheduled if not each.cancelled()])


async def test_a_loop_has_one_lag_and_one_timer() -> None:
    loop = asyncio.get_running_loop()
    before = timers()
    for _ in range(100):
        lag_of(loop).watch()
    assert timers() == before + 1
    assert lag_of(loop) is lag_of(loop)


async def test_without_a_watch_there_is_no_timer() -> None:
    before = timers()
    lag_of(asyncio.get_running_loop())
    assert timers() == before


def late(clock: FakeTime, delays: list[float]) -> list[float]:
    """Hold the loop up for each delay, from one look to the next. Return the lag after each of these looks."""

    async def main() -> list[float]:
        measured = LoopLag()
        measured.watch()
        seen = []
        for delay in delays:
            clock.at += TICK + delay  # a callback that takes so long
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append(measured.watch())
        return seen

    return clock.run(main)


def test_it_is_the_lower_one_of_two_looks(clock: FakeTime) -> None:
    assert late(clock, [0.0, 0.3, 0.5, 0.2, 0.0, 0.4]) == pytest.approx([0.0, 0.0, 0.3, 0.2, 0.0, 0.0], abs=1e-6)


def test_one_long_pause_is_no_lag(clock: FakeTime) -> None:
    assert late(clock, [0.0, 30.0, 0.0, 0.0]) == pytest.approx([0.0] * 4, abs=1e-6)


def test_the_timer_ends_at_rest_and_comes_again(clock: FakeTime) -> None:
    async def main() -> list[int]:
        measured = LoopLag()
        counts = [timers()]
        for _ in range(2):
            measured.watch()
            await asyncio.sleep(0.9)
            counts.append(timers())
            await asyncio.sleep(0.2)
            counts.append(timers())
        return counts

    assert clock.run(main) == [0, 1, 0, 1, 0]


def test_it_keeps_the_timer_while_it_is_watched(clock: FakeTime) -> None:
    async def main() -> list[int]:
        measured = LoopLag()
        counts = []
        for _ in range(5):
            measured.watch()
            await asyncio.sleep(0.9)
            counts.append(timers())
        return counts

    assert clock.run(main) == [1] * 5


def test_an_old_lag_does_not_outlive_a_rest(clock: FakeTime) -> None:
    async def main() -> float:
        measured = LoopLag()
        measured.watch()
        for _ in range(30):  # late at each look, and then it ends
            clock.at += TICK + 0.3
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert timers() == 0
        return measured.watch()

    assert clock.run(main) == 0.0


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_watched_is_not_kept(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        lag_of(asyncio.get_running_loop()).watch()

    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
    gone = ref(loop)
    del loop
    gc.collect()
    assert gone() is None
