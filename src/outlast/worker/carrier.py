"""Carries large arguments from the object store to a run, and its large result there, while the run is held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any, Final, TypeVar

from msgspec import Raw, structs

from outlast.core.backoff import Exponential
from outlast.core.claims import claim_in
from outlast.core.clock import Clock
from outlast.core.decide import Outcome, Unfetched
from outlast.core.errors import OutlastError, StoreError
from outlast.core.message import Failure
from outlast.core.settlement import Finish, Release, Settlement
from outlast.core.toolkit_errors import ObjectDamaged, ObjectNotFound
from outlast.toolkit.objects.claims import Claims
from outlast.worker.budget import Budget
from outlast.worker.run import Run

__all__ = ["Carrier"]

T = TypeVar("T")

_logger = logging.getLogger("outlast.worker")

LOOKS: Final = (0.2, 1.0, 3.0)
"""Seconds between the looks for arguments that are not there: a publish that came late puts them again."""
PUT_OFF: Final = 1.0
"""Seconds for which a job is put off while the object store is away, and over as many more the jobs are spread."""
SPREAD: Final = 3.0
_PAUSE: Final = Exponential(base=0.1, cap=2.0)


class Carrier:
    """Fetches arguments before a run begins, and puts results before it is settled. Call it in the loop's thread.

    While the object store is away, a job whose arguments are there is put off without using up an attempt. A run that
    has ended stays held, as during an outage of the jobs' store, until its result is put: another run would do its
    work twice.
    """

    def __init__(
        self, claims: Claims, budget: Budget, clock: Clock, rng: Random, *, keeps_results: bool = True
    ) -> None:
        self._claims = claims
        self._budget = budget
        self._clock = clock
        self._rng = rng
        self._told = False
        self._keeps_results = keeps_results

    # In

    def is_reference(self, run: Run) -> bool:
        """Tell whether the arguments of a run are in the object store."""
        return claim_in(run.delivery.message.args) is not None

    def carry_in(self, run: Run, done: Callable[[Outcome | Release | None], None]) -> None:
        """Fetch the arguments; then call `done`, with None once they are there, else with how the run ends."""

        def ended(task: asyncio.Task[Raw]) -> None:
            end = self._end_of(run, task)
            run.carried, run.task = "", None
            done(end)

        run.carried = "in"
        run.task = _begun(self._fetched(run), run, ended)

    def _end_of(self, run: Run, task: asyncio.Task[Raw]) -> Outcome | Release | None:
        """Give the run the arguments that a task has fetched, and return None; else how the run ends."""
        if task.cancelled():
            return Release(run.delivery.fence, why="the worker stopped")
        error = task.exception()
        if error is None:
            message = structs.replace(run.delivery.message, args=task.result())
            run.delivery = structs.replace(run.delivery, message=message)
            self._told = False
            return None
        if isinstance(error, ObjectNotFound | ObjectDamaged):
            reason = "object-missing" if isinstance(error, ObjectNotFound) else "object-damaged"
            return Unfetched(self._failure(run, error), reason)  # type: ignore[arg-type]
        # Away, or the settings of this worker lead to no object store, or this process lacks memory or threads.
        self._tell(error)
        at = self._clock.time() + PUT_OFF + self._rng.random() * SPREAD
        return Release(run.delivery.fence, at=at, why="its arguments are in the object store, which is away")

    async def _fetched(self, run: Run) -> Raw:
        message = run.delivery.message
        for pause in LOOKS:
            try:
                return await self._claims.check_out(message.id, message.args)
            except ObjectNotFound:
                await asyncio.sleep(pause)
        return await self._claims.check_out(message.id, message.args)

    def _failure(self, run: Run, error: BaseException) -> Failure:
        return Failure(run.delivery.attempt, self._clock.time(), type(error).__name__, str(error))

    def _tell(self, error: BaseException) -> None:
        if not self._told:
            self._told = True
            unforeseen = None if isinstance(error, OutlastError) else error
            _logger.warning(
                "large arguments and results wait until the object store answers: %s",
                str(error) or type(error).__name__,
                exc_info=unforeseen,
            )

    # Out

    def is_heavy(self, settlement: Settlement) -> bool:
        """Tell whether something of a settlement goes to the object store; no result that the store does not keep."""
        return self._claims.is_heavy(self._kept(settlement))

    def _kept(self, settlement: Settlement) -> Settlement:
        if self._keeps_results or type(settlement) is not Finish or settlement.result is None:
            return settlement
        return structs.replace(settlement, result=None)

    def carry_out(self, run: Run, settlement: Settlement, done: Callable[[Settlement], None]) -> None:
        """Put what is large; then call `done` with the settlement as the store is to keep it."""

        def ended(task: asyncio.Task[Settlement]) -> None:
            self._budget.leaving -= 1
            if run.ended:
                return  # the worker has given it up
            run.carried, run.task = "", None
            if task.cancelled():
                why = "the worker stopped before its result was in the object store"
                done(Release(run.delivery.fence, why=why, begun=True))
            else:
                done(task.result())

        run.carried = "out"
        run.task = _begun(self._until_put(run, settlement), run, ended)
        self._budget.leave(run)

    async def _until_put(self, run: Run, settlement: Settlement) -> Settlement:
        attempt = 0
        while True:
            try:
                kept = await self._claims.check_in_settlement(self._kept(settlement))
            except Exception as error:
                if isinstance(error, OutlastError) and not isinstance(error, StoreError):
                    # No settings lead to an object store: no waiting helps.
                    return Finish(run.delivery.fence, "dead", "gave-up", error=self._failure(run, error))
                self._tell(error)
                attempt += 1
                await asyncio.sleep(_PAUSE.delay(attempt, self._rng))
            else:
                self._told = False
                return kept


def _begun(work: Coroutine[Any, Any, T], run: Run, ended: Callable[[asyncio.Task[T]], None]) -> asyncio.Task[T]:
    """Begin outside the context of any run: its deadline and its passes are not for this work.

    `ended` is called at its end also when the work is cancelled before its first step, and for any error: a run that
    is never ended would keep its slot, and its job, for as long as the worker runs.
    """
    around = Context()
    task = asyncio.get_running_loop().create_task(work, name=run.delivery.message.id, context=around)
    task.add_done_callback(ended, context=around)
    return task
