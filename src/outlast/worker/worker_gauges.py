"""The gauges of a worker: slots, the lag of its event loop, and what its process uses."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from time import monotonic, process_time
from typing import Final

from outlast.aio.children import resident_bytes
from outlast.meters import meters
from outlast.worker import metrics
from outlast.worker.budget import Budget

__all__ = ["WorkerGauges"]

_BEAT: Final = 1.0
_KEPT: Final = 15
"""Beats whose lag is kept: a scrape every 15 s sees a loop that was late between two of them."""

_cpu_told: Final = {"seconds": 0.0}
"""Counted so far in this process, by whichever worker of it."""


class WorkerGauges:
    """Sets the gauges of a worker at each `beat`, and before each reading of the metrics of its process."""

    def __init__(self, budget: Budget, app: str) -> None:
        names = ("loop", "thread", "process", "alone")
        self._slots = [
            (group, metrics.SLOTS.of(app, name), metrics.BUSY_SLOTS.of(app, name))
            for name, group in zip(names, budget.groups, strict=True)
        ]
        self._lag, self._resident = metrics.LOOP_LAG.of(), metrics.RESIDENT.of()
        self._lags: deque[float] = deque(maxlen=_KEPT)
        self._due = 0.0
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
        """Have no values any more."""
        self._set()  # the last CPU seconds
        slots, self._slots = self._slots, []
        for each in (self._lag, self._resident, *(each for _, *pair in slots for each in pair)):
            each.clear()

    def _set(self) -> None:
        if not self._slots:
            return
        for group, slots, busy in self._slots:
            slots.set(group.slots)
            busy.set(group.taken)
        self._lag.set(max(self._lags, default=0.0))
        self._resident.set(resident_bytes(os.getpid()))
        told, spent = _cpu_told["seconds"], process_time()
        metrics.CPU_SECONDS.of().add(max(0.0, spent - told))
        _cpu_told["seconds"] = spent
