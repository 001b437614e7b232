"""An event loop whose clock jumps to the next timer, so that waits take no time, and guards that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from outlast.resilience import deadlines

T = TypeVar("T")


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """Sleeps by a jump of its clock; it waits really only where no timer is set, such as for a thread."""

    def __init__(self, clock: FakeTime) -> None:
        super().__init__()
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def jump(timeout: float | None) -> object:
            if timeout is None:
                return select(None)
            ready = select(0)
            if not ready and timeout > 0:
                clock.at += timeout
            return ready

        selector.select = jump
        self.time = clock.now  # type: ignore[method-assign]


class FakeTime:
    """The time of all loops that `run` makes."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        """Return the time."""
        return self.at

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work()` in a loop of this time."""
        with asyncio.Runner(loop_factory=lambda: FakeTimeLoop(self)) as runner:
            return runner.run(work())


def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Return a time that deadlines follow too."""
    clock = FakeTime()
    monkeypatch.setattr(deadlines, "monotonic", clock.now)
    return clock
