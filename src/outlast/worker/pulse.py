"""Tells the supervisor once a second that the event loop runs, and since when a claim should have come back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from outlast.worker.budget import Budget
from outlast.worker.claim_signs import ClaimSigns
from outlast.worker.claimer import Claimer
from outlast.worker.job_map import SharedJobMap
from outlast.worker.store_link import StoreLink

if TYPE_CHECKING:
    from outlast.worker.gates import Gates

__all__ = ["Pulse"]

_BEAT: Final = 1.0
_LATE: Final = 5.0
"""Seconds between two beats after which the event loop was blocked: the claimer could not run either."""


class Pulse:
    """Writes the beat of a worker, and what of its claims is due, into the memory that it shares with its supervisor.

    It looks at the same facts as the claimer, from a task of its own: a claim is due while there is room for jobs of a
    queue that no guard holds. None is due while the worker drains, while the store fails, and while jobs run that an
    unseen grant of a failed claim waits for. A claimer that has stopped for any other reason is seen by the time since
    its last claim.

    job_map: None for a worker without a supervisor, which is told nothing.
    """

    def __init__(
        self,
        job_map: SharedJobMap | None,
        claimer: Claimer,
        link: StoreLink,
        *,
        budget: Budget,
        gates: Gates | None,
        queues: Sequence[str],
    ) -> None:
        self._job_map = job_map
        self._clock = link.clock
        self._budget = budget
        self._claimer = claimer
        self._link = link
        self._gates = gates
        self._queues = queues
        self._beaten = -math.inf
        self._due_since = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(_BEAT)

    def beat(self) -> None:
        """Write one beat: the moment, the number of ended runs, and the claims that are due."""
        if self._job_map is None:
            return
        now = self._clock.monotonic()
        signs = self._signs(now)
        self._job_map.tell_claims(signs)
        self._job_map.beat(now, self._budget.finished, ready=True)

    def _signs(self, now: float) -> ClaimSigns:
        blocked, self._beaten = now - self._beaten > _LATE, now
        away, asked = self._link.away, self._asked()
        if blocked or away or not asked:
            self._due_since = now
        self._due_since = max(self._due_since, self._claimer.attended)
        due_since = self._due_since if asked and not away else 0.0
        gates = self._gates if self._gates is not None and self._gates.active else None
        shut = () if gates is None else tuple(n for n, queue in enumerate(self._queues) if gates.holds(queue))
        return ClaimSigns(due_since, away, asked, shut)

    def _asked(self) -> tuple[int, ...]:
        """Return the numbers of the queues that a claim would ask for a job now."""
        if self._claimer.pauses:
            return ()
        demand, limit = self._budget.demand(self._queues)
        if limit <= 0:
            return ()
        if self._gates is not None and self._gates.active:
            demand = self._gates.bound(demand)
        return tuple(n for n, queue in enumerate(self._queues) if demand[queue] > 0)
