"""A clock that only a test moves."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["FakeClock"]


class FakeClock:
    """Wall and monotonic time, moved only by `advance` and `step_wall`. Waits of a store check again at each move."""

    def __init__(self, time: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._time = time
        self._monotonic = monotonic
        self.stepped = 0.0
        """Seconds by which `step_wall` moved wall time, in total."""
        self._listeners: list[Callable[[], None]] = []

    def time(self) -> float:
        """Return wall time, seconds since 1970."""
        return self._time

    def monotonic(self) -> float:
        """Return monotonic seconds."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`, 0 or more, and call the listeners."""
        if not seconds >= 0:
            raise ValueError(f"advance({seconds!r}): a clock only moves forward: give 0 or more")
        self._time += seconds
        self._monotonic += seconds
        self._moved()

    def step_wall(self, seconds: float) -> None:
        """Move wall time alone by `seconds`, back if negative, as a correction of a host's clock does."""
        self._time += seconds
        self.stepped += seconds
        self._moved()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every move, in the thread that moves the clock."""
        self._listeners.append(listener)

    def _moved(self) -> None:
        for listener in tuple(self._listeners):
            listener()
