"""The gauges of a worker: slots, and the lag of its event loop; with them what its process uses."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Final

from outlast.meters import meters
from outlast.meters.process_metrics import show_process_use
from outlast.worker import metrics
from outlast.worker.budget import Budget

__all__ = ["WorkerGauges"]

_BEAT: Final = 1.0
_KEPT: Final = 15
"""Beats whose lag is kept: a scrape every 15 s sees a loop that was late between two of them."""


class WorkerGauges:
    """Sets the gauges of a worker at each `beat`, and before each reading of the metrics of its process."""

    def __init__(self, budget: Budget, app: str) -> None:
        names = ("loop", "thread", "process", "alone")
        self._slots = [
            (group, metrics.SLOTS.of(app, name), metrics.BUSY_SLOTS.of(app, name))
            for name, group in zip(names, budget.groups, strict=True)
        ]
        self._lag = metrics.LOOP_LAG.of()
        self._lags: deque[float] = deque(maxlen=_KEPT)
        self._due = 0.0
        show_process_use()
        meters.before_reading(self._set)

    async def run(self) -> None:
        """Set them once a second until cancelled."""
        while True:
            self.beat(_BEAT)
            await asyncio.sleep(_BEAT)

    def beat(self, pause: float) -> None:
        """Set the gauges; the next call is due in so many seconds, and what it comes late is the lag of the loop."""
        now = monotonic()
        if self._due:
            self._lags.append(max(0.0, now - self._due))
        self._due = now + pause
        meters.refresh()

    def close(self) -> None:
        """Have no values any more, but of what the process uses."""
        meters.refresh()  # the last CPU seconds
        slots, self._slots = self._slots, []
        for each in (self._lag, *(each for _, *pair in slots for each in pair)):
            each.clear()

    def _set(self) -> None:
        if not self._slots:
            return
        for group, slots, busy in self._slots:
            slots.set(group.slots)
            busy.set(group.taken)
        self._lag.set(max(self._lags, default=0.0))
