"""The loop that keeps samples of the queues in the store, and the marks of what happens to the workers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final

from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreMoved
from outlast.core.history import STEPS, Entry, QueueSample, entry, sample_of
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store
from outlast.core.store.totals import Outcome, of_queues
from outlast.worker.ports import RuntimePort
from outlast.worker.store_link import StoreLink
from outlast.worker.worker import STALL_PATIENCE

__all__ = ["HistoryKeeper", "history_of"]

_logger = logging.getLogger("outlast.history")

EVERY: Final = float(STEPS[0].seconds)
"""Seconds between two samples of a process; of several processes the first one of a slot writes it."""
PATIENCE: Final = 1.0
"""Seconds that a mark may take: a store that is away gets none."""
_KEEPING: Final = "the keeping of samples"

_Counts = Callable[[], Awaitable[Mapping[str, QueueStats]]]
"""Returns the counts of the queues; raises StoreError while the store is away."""
_Ended = Callable[[], Awaitable[Mapping[tuple[str, str, str], int] | Mapping[tuple[str, str, Outcome], int]]]
"""Returns how many jobs have ended, by queue, kind and outcome."""


class HistoryKeeper:
    """Keeps the history of one store for one process.

    link: returns the link to the store, None while there is none. sample: takes the place of a call of the store's
    `stats`; totals: adds to each sample what has ended in its queue.
    """

    def __init__(
        self,
        link: Callable[[], StoreLink | None],
        clock: Clock,
        rng: Random,
        *,
        sample: _Counts | None = None,
        totals: _Ended | None = None,
    ) -> None:
        self._link = link
        self._clock = clock
        self._rng = rng
        self._sample = sample
        self._totals = totals
        self._who = f"{socket.gethostname()}:{os.getpid()}"
        self._broken = False

    async def run(self, started: str) -> None:
        """Mark the start, with `started` as its detail, and keep a sample every EVERY seconds, for ever; never raises.

        Processes begin at different moments of a slot.
        """
        await self.mark("workers started", started)
        due = self._clock.monotonic() + EVERY * self._rng.random()
        while True:
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            await self.step()
            due = max(due + EVERY, self._clock.monotonic())

    async def step(self) -> int:
        """Keep one sample of each queue; return how many were kept. Never raises: the log tells of an outage once."""
        link = self._link()
        if link is None or not link.store.keeps_history():
            return 0
        try:
            taken = await self._taken(link)
            return await link.once(lambda store: store.history.keep_samples(taken), what=_KEEPING)
        except StoreMoved:
            pass  # the workers find out too, and stop
        except StoreError as error:
            link.tell(_KEEPING, error)
        except Exception as error:
            if not self._broken:
                self._broken = True
                _logger.exception("samples of the queues cannot be kept, the jobs go on: %s", type(error).__name__)
        return 0

    async def mark(self, what: str, detail: str = "") -> None:
        """Add a mark to the journal, within PATIENCE seconds. Never raises: what is not added is lost."""
        link = self._link()
        if link is None or not link.store.keeps_history():
            return
        added = [entry("mark", what, who=self._who, detail=detail)]
        try:
            async with asyncio.timeout(PATIENCE):
                await link.once(lambda store: _add(store, added))
        except (StoreError, TimeoutError) as error:
            _logger.debug("the mark %r is not kept: %s", what, error)
        except Exception:
            _logger.exception("the mark %r is not kept", what)

    async def _taken(self, link: StoreLink) -> dict[str, QueueSample]:
        sample = self._sample
        stats = await (link.once(lambda store: store.broker.stats(())) if sample is None else sample())
        ended = {} if self._totals is None else of_queues(await self._totals())
        return {queue: sample_of(found, ended.get(queue)) for queue, found in stats.items()}


def history_of(runtime: RuntimePort) -> HistoryKeeper:
    """Return the keeper of an app whose worker has no supervisor."""
    link = StoreLink(runtime.store, runtime.clock, runtime.rng, reconnect=None, patience=STALL_PATIENCE)

    async def totals() -> Mapping[tuple[str, str, Outcome], int]:
        return await link.once(lambda store: store.totals.totals()) if link.store.keeps_totals() else {}

    return HistoryKeeper(lambda: link, runtime.clock, runtime.rng, totals=totals)


async def _add(store: Store, entries: Sequence[Entry]) -> None:
    await store.history.add_entries(entries)
