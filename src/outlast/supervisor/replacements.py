"""Replaces workers by new ones: all on a reload, and those that are past their bounds; one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from outlast.core.clock import Clock
from outlast.core.text import counted
from outlast.supervisor.process import RecycleBounds
from outlast.supervisor.replica import WorkerReplica

__all__ = ["Replacements"]

_logger = logging.getLogger("outlast.supervisor")

_RECYCLED: Final = 10.0
"""Seconds until a new worker may be replaced: one that is above its bounds from the start must not loop."""
_RECYCLE_AGAIN: Final = 30.0


class Replacements:
    """Replaces workers on request: there is never more than one process beyond those of the supervisor."""

    def __init__(self, bounds: RecycleBounds, clock: Clock) -> None:
        self._bounds = bounds
        self._clock = clock
        self._reloading = False
        self._next_recycle: dict[WorkerReplica, float] = {}
        self._wanted = asyncio.Event()

    def reload(self) -> None:
        """Have `run` replace all workers; during a reload, have it begin again."""
        self._reloading = True
        self._wanted.set()

    def check(self, replicas: Sequence[WorkerReplica], now: float) -> None:
        """Have `run` replace those that are past their bounds."""
        if any(self._recycle_reason(replica, now) for replica in replicas):
            self._wanted.set()

    async def run(self, replicas: Sequence[WorkerReplica]) -> None:
        """Replace workers as `reload` and `check` ask for it, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._reloading:
                self._reloading = False
                await self._reload(replicas)
            for replica in replicas:
                if why := self._recycle_reason(replica, self._clock.monotonic()):
                    await self._recycle(replica, why)

    def _recycle_reason(self, replica: WorkerReplica, now: float) -> str:
        """Return why the worker should be replaced; "" when it need not, or its last replacement was too recent."""
        if replica.process is None or self._next_recycle.get(replica, 0.0) > now:
            return ""
        return replica.process.recycle_reason(now, self._bounds)

    async def _reload(self, replicas: Sequence[WorkerReplica]) -> None:
        number = counted(len(replicas), "worker")
        _logger.info("reloading: new processes for %s, one after the other", number)
        for done, replica in enumerate(replicas):
            if why := await replica.replace():
                _logger.error(
                    "the reload has failed, a new worker did not come up (%s): %d of %s new, the others "
                    "are unchanged; remove the cause and send SIGHUP again",
                    why,
                    done,
                    number,
                )
                return
            if self._reloading:
                _logger.info("reloading: requested again, it starts again")
                return
        _logger.info("reloaded: %s new", number)

    async def _recycle(self, replica: WorkerReplica, why: str) -> None:
        pid = replica.process.child.pid if replica.process is not None else 0
        _logger.info("worker %d is replaced after %s", pid, why)
        failed = await replica.replace()
        if failed:
            _logger.error("a new worker did not come up (%s): worker %d stays, and is replaced later", failed, pid)
        self._next_recycle[replica] = self._clock.monotonic() + (_RECYCLE_AGAIN if failed else _RECYCLED)
