"""Warns of queues that have jobs and no consumer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from outlast.core.clock import Clock
from outlast.core.errors import StoreError
from outlast.core.events import QueueUnattended
from outlast.core.store.broker import Broker
from outlast.core.text import counted

__all__ = ["ConsumerWatch"]

_logger = logging.getLogger("outlast.worker")
_EVERY: Final = 30.0
"""Seconds without a consumer that raise the alarm: workers that die are back within 5 s, once they have imported."""
_AGAIN: Final = 5.0


class ConsumerWatch:
    """Checks every queue of the store, declared here or not, for jobs that no worker has consumed for 30 s.

    consumed: when (monotonic) the workers of this process last consumed a queue, by its name: the store forgets a
    worker as soon as it has died, and one that restarts is no reason for an alarm.
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        clock: Clock,
        emit: Callable[[QueueUnattended], None],
        *,
        consumed: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._emit = emit
        self._consumed = consumed
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    async def run(self) -> None:
        """Check for ever: twice a minute, and every 5 s while a queue has no consumer and no alarm was raised yet."""
        while True:
            doubtful = await self.step()
            await asyncio.sleep(min(_AGAIN, _EVERY) if doubtful else _EVERY)

    async def step(self) -> bool:
        """Check once; raise the alarm for each queue that had jobs ready and no consumer since 30 s.

        The event comes at each check, the line in the log once until a worker consumes the queue. Return whether there
        is a queue without a consumer that has no alarm yet.
        """
        try:
            stats = await self._broker().stats(())
        except StoreError:
            return False  # the claimer reports the outage
        now, consumed = self._clock.monotonic(), self._consumed()
        unattended = {
            name: found
            for name, found in stats.items()
            if found.depth > found.running and found.consumers == 0 and not found.paused
        }
        self._since = {name: max(self._since.get(name, now), consumed.get(name, 0.0)) for name in unattended}
        self._told &= unattended.keys()
        doubtful = False
        for name, found in unattended.items():
            without = now - self._since[name]
            if without < _EVERY:
                doubtful = True
                continue
            if name not in self._told:
                self._told.add(name)
                _logger.warning(
                    "queue %r has %s and no worker consumes it: start one with this queue, or purge it",
                    name,
                    counted(found.depth, "job"),
                )
            self._emit(QueueUnattended(name, found.depth, max(without, found.oldest)))
        return doubtful
