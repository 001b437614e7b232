"""The clock that a test moves."""

from __future__ import annotations

import pytest

from outlast.testing.clock import FakeClock


def test_it_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(time=100.0, monotonic=5.0)
    assert (clock.time(), clock.monotonic()) == (100.0, 5.0)
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (102.5, 7.5)


def test_it_never_moves_back() -> None:
    with pytest.raises(ValueError, match="only moves forward"):
        FakeClock().advance(-1)


def test_listeners_hear_each_move() -> None:
    clock = FakeClock(monotonic=0.0)
    heard: list[float] = []
    clock.subscribe(lambda: heard.append(clock.monotonic()))
    clock.advance(1)
    clock.advance(0)
    assert heard == [1.0, 1.0]


def test_a_step_moves_wall_time_alone() -> None:
    clock = FakeClock(time=100.0, monotonic=5.0)
    heard: list[float] = []
    clock.subscribe(lambda: heard.append(clock.time()))
    clock.step_wall(30)
    clock.step_wall(-50)
    assert (clock.time(), clock.monotonic(), clock.stepped) == (80.0, 5.0, -20.0)
    assert heard == [130.0, 80.0]
