"""How late the callbacks of an event loop come, measured by one timer for each loop."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary

__all__ = ["TICK", "LoopLag", "lag_of"]

TICK: Final = 0.05
"""Seconds between two looks."""
_UNUSED_TICKS: Final = 20
"""So many looks after the last `watch` the timer ends: a process at rest does not wake up."""


class LoopLag:
    """The lag of one event loop. seconds: the lower one of the last two looks.

    So one long callback alone, or one pause of the whole process, is no lag: the loop has caught up at the next look.
    """

    __slots__ = ("_due", "_last", "_unused", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = 0.0
        self._due = 0.0
        self._unused = -1  # below 0: there is no timer

    def watch(self) -> float:
        """Return the seconds, and go on measuring for a second. For the loop of this lag, while it runs."""
        if self._unused < 0:
            self._next()
        self._unused = 0
        return self.seconds

    def _next(self) -> None:
        self._due = monotonic() + TICK  # not loop.time(): uvloop's stands still during an iteration
        asyncio.get_running_loop().call_later(TICK, self._look)

    def _look(self) -> None:
        lag = max(0.0, monotonic() - self._due)
        self.seconds = min(lag, self._last)
        self._last = lag
        self._unused += 1
        if self._unused < _UNUSED_TICKS:
            self._next()
        else:
            self.seconds = self._last = 0.0
            self._unused = -1


_lags: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopLag] = WeakKeyDictionary()


def lag_of(loop: asyncio.AbstractEventLoop) -> LoopLag:
    """Return the lag of this loop: always the same object."""
    lag = _lags.get(loop)
    return _lags.setdefault(loop, LoopLag()) if lag is None else lag
