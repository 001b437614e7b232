"""Asks the store for work: as much as there is room for, and never more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from outlast.core.errors import StoreCorrupt, StoreError
from outlast.core.message import Delivery, Holder
from outlast.core.store.store import Store
from outlast.worker.budget import Budget
from outlast.worker.store_link import StoreLink, StoreStalled

__all__ = ["CLAIM_WAIT", "Claimer"]

_logger = logging.getLogger("outlast.worker")

CLAIM_WAIT: Final = 5.0
"""Seconds that one claim waits for a job; a bell or a due time ends it sooner."""
_DOUBT_LIMIT: Final = 60.0
_GRANTING: Final = 0.02


class Claimer:
    """One claim at a time, the next while the jobs of the last run. `accept` takes what was claimed.

    A claim that failed or was cut off may have been granted without our knowing: such jobs would be renewed for ever
    and run nowhere. So at the next moment when nothing is held here, and within a minute by holding back, everything
    that the store still counts as ours is handed back, without blame.
    """

    def __init__(
        self,
        link: StoreLink,
        budget: Budget,
        accept: Callable[[Sequence[Delivery]], None],
        *,
        queues: Sequence[str],
        holder: Holder,
        lease: float,
    ) -> None:
        self._link = link
        self._budget = budget
        self._accept = accept
        self._queues = queues
        self._holder = holder
        self._lease = lease
        self._failed = 0
        self._filled = False
        self._doubt: float | None = None

    async def run(self) -> None:
        """Claim until cancelled. Raise StoreCorrupt, or Stalled when a claim never came back."""
        while True:
            await self.step(wait=CLAIM_WAIT)

    async def step(self, *, wait: float) -> int:
        """Claim once, when there is room; return how many jobs came."""
        if self._filled and self._budget.settles_soon():
            # There is more where that came from: ask together with the next settlement, in one transaction, not just
            # before it in one of its own.
            await self._budget.room.wait()
        self._budget.room.clear()
        self._filled = False
        demand, limit = self._budget.demand(self._queues)
        if self._doubt is not None and not await self._settle_doubt(self._doubt):
            demand = {}
        if not demand:
            await self._budget.room.wait()
            return 0

        def claim(store: Store) -> Coroutine[Any, Any, list[Delivery]]:
            asked = store.broker.claim(demand, limit=limit, holder=self._holder, lease=self._lease, wait=wait)
            return asked if len(demand) == len(self._queues) else self._unless_widened(asked, demand)

        try:
            given = await self._link.once(claim, wait=wait)
        except (StoreCorrupt, StoreStalled):
            self._doubt = self._link.clock.monotonic()
            raise
        except StoreError as error:
            self._doubt = self._link.clock.monotonic()
            self._failed += 1
            await self._link.pause("claim", self._failed, error)
            return 0
        self._failed = 0
        self._filled = len(given) >= min(limit, sum(demand.values()))
        self._budget.claimed_at = self._link.clock.monotonic()
        self._accept(given)
        return len(given)

    async def _unless_widened(
        self, claim: Coroutine[Any, Any, list[Delivery]], demand: Mapping[str, int]
    ) -> list[Delivery]:
        """Wait for a claim that leaves out full queues; take it back, empty-handed, when one of them has room."""
        task: asyncio.Task[list[Delivery]] = asyncio.ensure_future(claim)
        try:
            while not task.done():
                room = asyncio.ensure_future(self._budget.room.wait())
                await asyncio.wait((task, room), return_when=asyncio.FIRST_COMPLETED)
                room.cancel()
                self._budget.room.clear()
                wider, _ = self._budget.demand(self._queues)
                if wider.keys() <= demand.keys():
                    continue
                # One that is being granted comes back within this time: only one that waits is taken back.
                await asyncio.wait((task,), timeout=_GRANTING)
                # Cancel the store's own call, nothing around it: it alone knows whether it has just been granted jobs,
                # which would otherwise be held here, renewed for ever and run nowhere.
                task.cancel()
                await asyncio.wait((task,))
            return [] if task.cancelled() else task.result()
        finally:
            task.cancel()

    async def _settle_doubt(self, since: float) -> bool:
        """Hand back what may have been granted unseen; tell whether claiming may go on."""
        if self._budget.runs:
            return self._link.clock.monotonic() - since < _DOUBT_LIMIT
        try:
            found = await self._link.once(lambda store: store.broker.forfeit(self._holder, crashed=False))
        except StoreError:
            return True  # still away: the claim that follows waits for it
        self._doubt = None
        if found:
            _logger.warning("%d jobs that were granted while the store was failing were handed back", found)
        return True
