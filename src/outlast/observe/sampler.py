"""Samples the store for those who ask: rarely enough not to burden it, and without making anyone wait for one away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

from outlast.aio.clock import SystemClock
from outlast.brokers.registry import find_kind
from outlast.core.space import Space
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store
from outlast.core.text import line
from outlast.meters.metric import Reading
from outlast.observe.declared import DeclaredQueues
from outlast.observe.store_figures import OutcomeTotals, StoreSample, away, readings_of

__all__ = ["LONGEST_SAMPLE", "SHARE", "Sampler", "stored_totals"]

_log = logging.getLogger("outlast.observe")
SHORTEST_PAUSE: Final = 1.0
"""Seconds from the begin of one look at the store to that of the next: who asks sooner gets what is known."""
SHARE: Final = 0.05
"""The largest part of the time in which samples are taken: after one of 2 s, the next begins 40 s later at the
earliest."""
LONGEST_SAMPLE: Final = 2.0
"""Seconds after which a sample is given up: a scrape waits no longer."""

_monotonic: Final = SystemClock().monotonic
Totals = Callable[[Store, Sequence[str]], Awaitable[OutcomeTotals | None]]


class Sampler:
    """The figures of the store of one app. One sample serves all who ask in the same second.

    store: returns the open store. declared: the queues of the app; None while they are not known, when nothing is
    shown. A store that is away, or that takes longer than LONGEST_SAMPLE, has no figures until it answers; the log
    tells of each outage once. Between two samples of a slow store each question checks that it answers at all, so that
    the figures of a store that is lost are gone within one scrape. No method raises for what the store does.
    """

    def __init__(
        self,
        store: Callable[[], Awaitable[Store]],
        declared: Callable[[], DeclaredQueues | None],
        *,
        monotonic: Callable[[], float] = _monotonic,
        totals: Totals | None = None,
        longest: float = LONGEST_SAMPLE,
    ) -> None:
        self._store = store
        self._declared = declared
        self._monotonic = monotonic
        self._totals = totals or stored_totals
        self._longest = longest
        self._last: StoreSample | None = None
        self._looked: float | None = None
        self._due = 0.0
        self._away = False
        self._locked: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    async def readings(self) -> list[Reading]:
        """Return the figures of the store as readings, each series once."""
        declared = self._declared()
        if declared is None:
            return []
        sample = await self._sampled(declared)
        return away(declared.app) if sample is None else readings_of(sample, declared, self._monotonic())

    async def stats(self) -> dict[str, QueueStats]:
        """Return the counts of the app's queues, none while the store is away."""
        declared = self._declared()
        sample = None if declared is None else await self._sampled(declared)
        return {} if sample is None else dict(sample.stats)

    async def totals(self) -> OutcomeTotals:
        """Return the ended jobs; none while the store is away, and where it does not count them."""
        declared = self._declared()
        sample = None if declared is None else await self._sampled(declared)
        return {} if sample is None or sample.totals is None else sample.totals

    async def _sampled(self, declared: DeclaredQueues) -> StoreSample | None:
        async with self._lock():
            now = self._monotonic()
            if self._looked is None or now >= self._looked + SHORTEST_PAUSE:
                self._looked = now
                await self._look(declared, now)
            return self._last

    def _lock(self) -> asyncio.Lock:
        """Return the lock of the running loop: a lock serves one."""
        loop = asyncio.get_running_loop()
        if self._locked is None or self._locked[0] is not loop:
            self._locked = loop, asyncio.Lock()
        return self._locked[1]

    async def _look(self, declared: DeclaredQueues, began: float) -> None:
        """See whether the store answers, and take a sample where that is due; forget the last if it does not."""
        answers = False
        try:
            async with asyncio.timeout(self._longest):
                store = await self._store()
                await store.check()
                answers = True
                if began >= self._due:
                    self._last = await self._take(store, declared, began)
        except Exception as error:  # whatever it is, the scrape and the jobs go on
            self._last = None
            # A sample that was given up has burdened the store as one that took as long. A store that answers nothing
            # at all is no slower for it: a sample is due as soon as it answers.
            slow = answers and isinstance(error, TimeoutError)
            self._due = began + self._longest / SHARE if slow else began
            self._tell_away(declared.app, error)
            return
        if self._last is not None:
            self._tell_back(declared.app)

    async def _take(self, store: Store, declared: DeclaredQueues, began: float) -> StoreSample:
        queues = tuple(declared.kinds)
        stats = await store.broker.stats(queues) if queues else {}
        totals = await self._totals(store, queues)
        space = await _space_of(store)
        seconds = self._monotonic() - began
        self._due = began + seconds / SHARE
        # Where connections hold the jobs, what runs is not counted, and no job says since when it waits.
        return StoreSample(began, seconds, stats, totals, space, counts_all=store.broker.capabilities.leases)

    def _tell_away(self, app: str, error: Exception) -> None:
        if not self._away:
            self._away = True
            why = f"no answer within {self._longest:g} s" if isinstance(error, TimeoutError) else str(error)
            _log.warning(
                "metrics of %r are without the figures of the store, until it answers (%s: %s)",
                app,
                type(error).__name__,
                line(why),
            )

    def _tell_back(self, app: str) -> None:
        if self._away:
            self._away = False
            _log.info("metrics of %r have the figures of the store again", app)


async def stored_totals(store: Store, queues: Sequence[str]) -> OutcomeTotals | None:
    """Return the ended jobs by queue, kind and outcome; None of a store that does not keep them."""
    return cast("OutcomeTotals", await store.totals.totals(queues)) if store.keeps_totals() else None


async def _space_of(store: Store) -> Space | None:
    kind = find_kind(store.url)
    return None if kind is None else await kind.space(store)
