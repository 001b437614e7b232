"""Sums what the runs of a worker cost, by kind and tenant, and adds the sums to the store every 10 s and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreMoved
from outlast.core.history import OTHER, Cost, day_of
from outlast.worker.costs_metrics import TenantCounter

if TYPE_CHECKING:
    from outlast.core.store.store import Store
    from outlast.worker.run import Run
    from outlast.worker.store_link import StoreLink

__all__ = ["MOST_TENANTS", "CostKeeper", "CostSums", "keeper_of"]

_logger = logging.getLogger("outlast.worker")

EVERY: Final = 10.0
"""Seconds between two additions: what a killed process has not added yet is lost."""
MOST_TENANTS: Final = 1000
"""Tenants of one day that a process tells apart; the others are added together as `other`."""
LAST: Final = 1.0
"""Seconds that a worker that stops waits for its last addition."""
_NONE: Final = object()
"""The plan of no run."""
_ADDITION: Final = "the addition of costs"


class CostSums:
    """The sums since the last `take`, in memory: at most MOST_TENANTS tenants a day, for each kind of the app.

    Call it on the event loop's thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sums: dict[tuple[str, str], list[float]] = {}
        self._last: tuple[object, str | None, list[float]] = (_NONE, None, [])
        """The plan and the key of the last run, and its sums: most runs are of the same ones."""
        self._tenants: dict[str, None] = {}
        self._day = day_of(clock.time())

    def ran(self, run: Run, seconds: float) -> None:
        """Add a run that was `measured` when it left its slot after `seconds`, whatever becomes of its job."""
        message = run.delivery.message
        plan, key, numbers = self._last
        if plan is not run.plan or key != message.key:
            numbers = self._numbers(run)
            self._last = (run.plan, message.key, numbers)
        numbers[0] += 1
        if run.cpu:
            numbers[1] += run.cpu
        if seconds > 0:
            numbers[2] += seconds
        numbers[3] += run.size

    def ended(self, run: Run, result: Raw) -> None:
        """Add the result of a run that has ended."""
        self._numbers(run)[3] += len(result)

    def take(self) -> list[Cost]:
        """Return the sums, and begin again at 0."""
        sums, self._sums = self._sums, {}
        self._last = (_NONE, None, [])
        if (day := day_of(self._clock.time())) != self._day:
            self._day = day
            self._tenants.clear()
        return [
            Cost(kind=kind, tenant=tenant, runs=int(runs), cpu=cpu, wall=wall, bytes=int(size))
            for (kind, tenant), (runs, cpu, wall, size) in sums.items()
        ]

    def _numbers(self, run: Run) -> list[float]:
        message = run.delivery.message
        kind, tenant = message.kind if run.plan is None else run.plan.declaration.kind, message.key or ""
        found = self._sums.get((kind, tenant))
        return self._add(kind, tenant) if found is None else found

    def _add(self, kind: str, tenant: str) -> list[float]:
        if tenant and tenant not in self._tenants:
            if len(self._tenants) >= MOST_TENANTS:
                tenant = OTHER
            else:
                self._tenants[tenant] = None
        return self._sums.setdefault((kind, tenant), [0, 0.0, 0.0, 0])


class CostKeeper:
    """Adds the sums of a worker to the store of `link`, and counts them. source: the holder of the worker.

    While the store is away, the sums of the call that failed are kept, and sent again under the same number: a call
    that was done and whose answer was lost adds nothing the second time.
    """

    def __init__(self, link: StoreLink, source: str, app: str) -> None:
        self.sums: Final = CostSums(link.clock)
        self._counter = TenantCounter(app)
        self._link = link
        self._source = source
        self._number = 0
        self._sent: list[Cost] = []
        """What was sent under `_number` and is not confirmed."""
        self._broken = False

    async def run(self) -> None:
        """Add the sums every EVERY seconds, for ever; never raises."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Add the sums; never raises: a failure is told once, and the sums are sent with the next call."""
        if not self._sent:
            self._sent = self.sums.take()
            self._counter.count(self._sent)
            self._number += 1
        if not self._sent:
            return
        try:
            await self._link.once(self._add, what=_ADDITION)
        except StoreMoved:
            return  # the worker finds out too, and stops
        except StoreError as error:
            self._link.tell(_ADDITION, error)
            return
        except Exception as error:
            if not self._broken:
                self._broken = True
                _logger.exception("the costs of jobs cannot be kept, the jobs go on: %s", type(error).__name__)
        self._sent = []

    async def close(self) -> None:
        """Add what is left, within LAST seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST):
                await self.flush()
                if not self._sent:  # else the store is away; an earlier call may have sent less than there is
                    await self.flush()

    async def _add(self, store: Store) -> bool:
        return await store.history.add_costs(self._source, self._number, self._sent)


def keeper_of(link: StoreLink, source: str, app: str) -> CostKeeper | None:
    """Return the keeper of a worker's costs; None where the store keeps no history."""
    return CostKeeper(link, source, app) if link.store.keeps_history() else None
