"""Ends a run: converts its outcome to a settlement, for the settler."""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random

from outlast.core.decide import Outcome
from outlast.core.settlement import Finish, Release, Settlement
from outlast.worker.budget import Budget
from outlast.worker.carrier import Carrier
from outlast.worker.probing import end_passes
from outlast.worker.report import Reporter
from outlast.worker.run import Run, end_trace, settled_as

__all__ = ["RunFinisher"]


class RunFinisher:
    """Ends each run once. `settle(run, settlement)` sends the settlement to the store.

    carrier: puts what is large of a settlement to the object store before that.
    """

    def __init__(
        self,
        budget: Budget,
        report: Reporter,
        settle: Callable[[Run, Settlement], None],
        rng: Random,
        carrier: Carrier,
    ) -> None:
        self._budget = budget
        self._report = report
        self._settle = settle
        self._rng = rng
        self._carrier = carrier

    def end(self, run: Run, outcome: Outcome) -> None:
        """End the run by the policy of its kind; a superseded run ends without a settlement."""
        if run.stop == "superseded":
            self._drop(run)
        else:
            self.close(run, settled_as(run, outcome, self._rng))

    def close(self, run: Run, settlement: Settlement) -> None:
        """End the run with this settlement; the slot of one that a guard has put off was freed just before."""
        if self._carrier.is_heavy(settlement):
            self._carrier.carry_out(run, settlement, functools.partial(self._carried, run))
        else:
            self._close(run, settlement)

    def _carried(self, run: Run, settlement: Settlement) -> None:
        if run.stop == "superseded":
            self._drop(run)
        else:
            self._close(run, settlement)

    def _close(self, run: Run, settlement: Settlement) -> None:
        if isinstance(settlement, Release) and settlement.guard:
            self._budget.loads.put_off(run.delivery.message.queue)
        if run.passes is not None:
            end_passes(run.passes.values(), settlement)
        if run.trace is not None:
            end_trace(run, settlement)
        if type(settlement) is Finish and settlement.result is not None and self._budget.costs is not None:
            self._budget.costs.ended(run, settlement.result)
        self._budget.end(run)
        self._settle(run, settlement)

    def _drop(self, run: Run) -> None:
        for each in (run.passes or {}).values():
            each.end("neutral")
        end_trace(run, None)
        run.ended = True
        run.task = None
        batch = ((run, Release(run.delivery.fence)),)
        self._budget.begin_settling(batch)
        self._budget.settled(batch)
        self._report.superseded(run)
