"""Claims jobs from the store: as many as there is room for, and never more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from outlast.core.errors import StoreCorrupt, StoreError, StoreMoved
from outlast.core.message import Delivery, Holder
from outlast.core.select import wanted
from outlast.core.store.store import Store
from outlast.core.text import counted
from outlast.worker.budget import Budget
from outlast.worker.store_link import StoreLink, StoreStalled

if TYPE_CHECKING:
    from outlast.worker.gates import Gates

__all__ = ["CLAIM_WAIT", "Claimer"]

_logger = logging.getLogger("outlast.worker")

CLAIM_WAIT: Final = 5.0
"""Seconds that one claim waits for a job; a notification or a due time ends it sooner."""
_UNKNOWN_LIMIT: Final = 60.0
_GRANT_TIME: Final = 0.02


class Claimer:
    """Makes one claim at a time, the next while the jobs of the last run. `accept` takes the claimed jobs.

    Each claim names all queues, those without room with demand 0: to the store, and to workers on other hosts, a queue
    that a claim leaves out has no consumer here. While guards hold all queues that have room, a claim of no job tells
    the store every CLAIM_WAIT seconds that they have a consumer.

    A claim that failed or was interrupted may have been granted by the store: such jobs would be renewed for ever and
    never run. Therefore all jobs that the store counts as held here are forfeited, without a crash, as soon as there is
    no run here; after a minute the claims pause until then.
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
        gates: Gates | None = None,
    ) -> None:
        self._link = link
        self._budget = budget
        self._accept = accept
        self._queues = queues
        self._holder = holder
        self._lease = lease
        self._gates = gates
        budget.loads.claims_from(queues)
        self._claiming: asyncio.Task[Any] | None = None
        self._cut = False
        self.attended = -CLAIM_WAIT
        """When (monotonic) a claim last came back from the store."""
        self._failed = 0
        self._ended = False
        self._filled = False
        self._unknown_since: float | None = None

    async def run(self) -> None:
        """Claim until cancelled. Raise StoreCorrupt, StoreMoved, or StoreStalled when a claim did not return."""
        try:
            while True:
                await self.step(wait=CLAIM_WAIT)
        finally:
            self._ended = True

    @property
    def pauses(self) -> bool:
        """Whether no claim is to be expected: `run` has ended, or running jobs keep it from giving back what a failed
        claim may have been granted."""
        return self._ended or (self._unknown_since is not None and bool(self._budget.runs))

    async def step(self, *, wait: float) -> int:
        """Claim once, when there is room; return the number of claimed jobs."""
        if self._filled and self._budget.settles_soon():
            # The queues have more jobs: claim in the transaction of the next settlement, not just before it in another.
            await self._budget.room.wait()
        self._budget.room.clear()
        self._filled = False
        demand, limit = self._budget.demand(self._queues)
        gates = self._gates if self._gates is not None and self._gates.active else None
        if gates is not None and limit > 0:
            demand = await gates.bounded(demand)
        shut = () if gates is None else [queue for queue in self._queues if gates.holds(queue)]
        self._holder = self._budget.holder(self._holder, self._link.clock.monotonic(), shut)
        may_claim = self._unknown_since is None or await self._forfeit_unknown(self._unknown_since)
        if not may_claim or not wanted(demand):
            if not may_claim or gates is None or limit <= 0:
                await self._budget.room.wait()
                return 0
            if await self._has_room_soon():
                return 0
            wait = 0.0

        def claim(store: Store) -> Coroutine[Any, Any, list[Delivery]]:
            call = store.broker.claim(demand, limit=limit, holder=self._holder, lease=self._lease, wait=wait)
            if gates is not None or not all(demand.values()):
                return self._until_other(call, demand)
            return call if self._gates is None else self._until_cut(call)

        try:
            deliveries = await self._link.once(claim, wait=wait, what="claim")
        except StoreError as error:
            self._unknown_since = self._link.clock.monotonic()
            if isinstance(error, (StoreCorrupt, StoreMoved, StoreStalled)):
                raise
            self._failed += 1
            await self._link.pause("claim", self._failed, error)
            return 0
        self._failed = 0
        self._filled = len(deliveries) >= min(limit, sum(demand.values())) and bool(deliveries)
        self.attended = self._link.clock.monotonic()
        self._accept(deliveries)
        if gates is not None and not self._cut:
            gates.claimed(demand, bool(deliveries))
        return len(deliveries)

    async def _has_room_soon(self) -> bool:
        """Wait for room while the store knows that this worker attends to its queues; False when it is to be told."""
        left = self.attended + CLAIM_WAIT - self._link.clock.monotonic()
        if left <= 0:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._budget.room.wait()
                return True
        return False

    async def _until_cut(self, claim: Coroutine[Any, Any, list[Delivery]]) -> list[Delivery]:
        """Await a claim, which `cut` may end, with no jobs."""
        self._claiming, self._cut = asyncio.current_task(), False
        try:
            return await claim
        except asyncio.CancelledError:
            if not self._cut or self._claiming is None or self._claiming.uncancel():
                raise
            return []
        finally:
            self._claiming = None

    def cut(self) -> None:
        """End a claim that waits, as a guard now holds one of its queues; one that is being granted goes on."""
        if (task := self._claiming) is not None:
            asyncio.get_running_loop().call_later(_GRANT_TIME, self._cut_short, task)

    def _cut_short(self, task: asyncio.Task[Any]) -> None:
        if task is self._claiming:
            self._cut = True
            task.cancel()

    async def _until_other(
        self, claim: Coroutine[Any, Any, list[Delivery]], demand: Mapping[str, int]
    ) -> list[Delivery]:
        """Await a claim; cancel it, with no jobs, when a queue with demand 0 has room, or a guard holds another one."""
        self._cut = False
        task: asyncio.Task[list[Delivery]] = asyncio.ensure_future(claim)
        try:
            while not task.done():
                room = asyncio.ensure_future(self._budget.room.wait())
                await asyncio.wait((task, room), return_when=asyncio.FIRST_COMPLETED)
                room.cancel()
                self._budget.room.clear()
                if not self._differs(demand):
                    continue
                # A claim that is being granted returns within this time: only one that waits is cancelled.
                await asyncio.wait((task,), timeout=_GRANT_TIME)
                # Cancel the call of the store itself, not a task around it: only the store can tell whether it has
                # just granted jobs, which would otherwise be held here, renewed for ever and never run.
                self._cut = True
                task.cancel()
                await asyncio.wait((task,))
            return [] if task.cancelled() else task.result()
        finally:
            task.cancel()

    def _differs(self, demand: Mapping[str, int]) -> bool:
        """Tell whether a claim with this demand is not to go on."""
        other, limit = self._budget.demand(self._queues)
        gates = self._gates
        if gates is None or limit <= 0:
            return not set(wanted(other)) <= set(wanted(demand))
        asked = wanted(demand)
        return any(gates.holds(queue) for queue in asked) or not set(wanted(gates.bound(other))) <= set(asked)

    async def _forfeit_unknown(self, since: float) -> bool:
        """Forfeit the jobs that may have been granted unseen; return whether to claim now."""
        if not self._link.store.broker.capabilities.leases:  # nothing is granted that the connection does not have
            self._unknown_since = None
            return True
        if self._budget.runs:
            return self._link.clock.monotonic() - since < _UNKNOWN_LIMIT
        try:
            found = await self._link.once(lambda store: store.broker.forfeit(self._holder, crashed=False))
        except StoreError:
            return True  # the claim that follows reports the outage and waits
        self._unknown_since = None
        if found:
            _logger.warning("released what the store had granted to a failed claim: %s", counted(found, "job"))
        return True
