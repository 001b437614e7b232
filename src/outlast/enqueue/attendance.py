"""Warns a process that enqueues into a store which no worker has open: the workers may use another file."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from outlast.core.errors import StoreError

if TYPE_CHECKING:
    from outlast.enqueue.runtime import Runtime

__all__ = ["Attendance"]

_log = logging.getLogger("outlast")
_AFTER: Final = 60.0
"""Seconds that a job waits without a worker before the warning, and between two looks."""


class Attendance:
    """Looks once a minute until it has seen a worker, or has warned once. It costs an enqueue nothing.

    A store that only one process can reach is not looked at: no worker process could have it open.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ready: set[str] = set()
        """The queues that had jobs ready at the last look."""
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if runtime.store.broker.capabilities.shared:
            self._wait()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _wait(self) -> None:
        # A timer, not a sleeping task: Python complains of a task that is pending when its loop is closed.
        self._timer = self._loop.call_later(_AFTER, self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work(), name="outlast attendance")

    async def _work(self) -> None:
        if not await self.look():
            self._wait()

    async def look(self) -> bool:
        """Look once; warn if jobs of this app wait and the store has no worker. Return whether to look no more."""
        try:
            stats = await self._runtime.store.broker.stats(())
        except StoreError:
            return False
        if any(each.consumers for each in stats.values()):
            return True
        own = self._runtime.registry.queues
        ready = {name: each for name, each in stats.items() if name in own and each.ready and not each.paused}
        # A store that tells no ages: jobs were ready at the last look too.
        waiting = sorted(
            name
            for name, each in ready.items()
            if (each.oldest >= _AFTER if self._runtime.store.keeps_records() else name in self._ready)
        )
        self._ready = set(ready)
        if waiting:
            _log.warning(
                "jobs wait in %s since more than %.0f s, and no worker has it open (queues: %s; working directory: "
                "%s): start one; if one runs, it uses another store, so set OUTLAST_URL to the same absolute path or "
                "server for both",
                self._runtime.store.url,
                _AFTER,
                ", ".join(waiting),
                _folder(),
            )
        return bool(waiting)


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "removed"
