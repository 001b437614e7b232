"""Warns of queues that have jobs and no consumer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from outlast.core.clock import Clock
from outlast.core.errors import StoreError
from outlast.core.events import QueueUnattended
from outlast.core.store.broker import Broker
from outlast.core.text import counted

__all__ = ["ConsumerWatch"]

_logger = logging.getLogger("outlast.worker")
_EVERY: Final = 30.0


class ConsumerWatch:
    """Checks every queue of the store, declared here or not, twice a minute."""

    def __init__(self, broker: Callable[[], Broker], clock: Clock, emit: Callable[[QueueUnattended], None]) -> None:
        self._broker = broker
        self._clock = clock
        self._emit = emit
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Check for ever; first after 30 s, when all workers have had time to start."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.step()

    async def step(self) -> None:
        """Check once; warn of each queue that has jobs ready and no consumer."""
        try:
            stats = await self._broker().stats(())
        except StoreError:
            return  # the claimer reports the outage
        now = self._clock.monotonic()
        unattended = {
            name: found
            for name, found in stats.items()
            if found.depth > found.running and found.consumers == 0 and not found.paused
        }
        self._since = {name: self._since.get(name, now) for name in unattended}
        for name, found in unattended.items():
            waited = max(now - self._since[name], found.oldest)
            _logger.warning(
                "queue %r has %s and no worker consumes it: start one with this queue, or purge it",
                name,
                counted(found.depth, "job"),
            )
            self._emit(QueueUnattended(name, found.depth, waited))
