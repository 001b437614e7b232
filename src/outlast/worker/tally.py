"""Counts runs when the store has recorded their end, a whole batch at once: by queue and by kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from outlast.core.clock import Clock
from outlast.core.policy import DEFAULTS
from outlast.core.registry import Registry
from outlast.core.settlement import Finish, Reschedule, Settlement
from outlast.worker import metrics
from outlast.worker.budget import EndedRun

__all__ = ["RunTally", "outcome_of"]


class RunTally:
    """Counts runs that the handler may have begun, never before the store has their end: a SIGKILL loses one batch.

    All series of the declared kinds and of the queues that this worker consumes are there from the start, at 0: an
    alert on a growth would not see the first failure of a series that begins at 1.
    """

    def __init__(self, registry: Registry, clock: Clock, queues: Collection[str]) -> None:
        self._clock = clock
        self._registry = registry
        self._tallies: dict[tuple[str, str], _KindTally] = {}
        self._queues: dict[str, _QueueSeries] = {}
        self._lapsed = metrics.LAPSED.of(registry.app)
        for queue in queues:
            self._queue(queue)
        for wire, declaration in registry.kinds.items():
            if declaration.queue in self._queues:
                self._add(declaration.queue, wire)

    def settled(self, batch: Sequence[EndedRun], superseded: Collection[tuple[str, int]] = ()) -> bool:
        """Count the runs of a batch; return whether all of them succeeded.

        superseded: ids and tokens of those among them whose end changed nothing.
        """
        now = self._clock.monotonic()
        to_wall = self._clock.time() - now
        touched: dict[_KindTally, None] = {}
        tally: _KindTally | None = None
        plan, queue, size = None, "", 0
        plain = True
        for run, settlement in batch:
            if not run.begun:
                plain = False
                continue
            if not run.queue:  # its slot is not free yet, as of one in a thread that runs on
                run.measured(now)
            if tally is None or run.plan is not plan or run.queue != queue:
                # Seldom in a large batch, whose jobs are of few kinds. Below, each step costs per job.
                if tally is not None:
                    tally.bytes += size
                plan, queue, size = run.plan, run.queue, 0
                kind = run.delivery.message.kind
                tally = self._tallies.get((queue, kind)) or self._add(queue, kind)
                touched[tally] = None
                add_wait, add_took = tally.waits.append, tally.took.append
            add_wait(run.waited + to_wall)
            add_took(run.took)
            size += run.size
            if run.cpu:
                tally.cpu += run.cpu
            if superseded and (run.delivery.fence.id, run.delivery.fence.token) in superseded:
                tally.others.append("superseded")
            elif type(settlement) is not Finish or settlement.state != "succeeded":
                tally.others.append(outcome_of(settlement))
            elif settlement.result is not None:
                size += len(settlement.result)
        if tally is not None:
            tally.bytes += size
        for each in touched:
            plain = plain and not each.others
            each.flush()
        return plain

    def superseded(self, queue: str) -> None:
        """Count a run whose end changed nothing."""
        self._queue(queue).stale.add()

    def lapsed(self) -> None:
        """Count that the lease of this worker had lapsed, and that others have jobs of it."""
        self._lapsed.add()

    def _queue(self, queue: str) -> _QueueSeries:
        series = self._queues.get(queue)
        if series is None:
            series = self._queues[queue] = _QueueSeries(self._registry, queue)
        return series

    def _add(self, queue: str, wire: str) -> _KindTally:
        """Return a new tally of a declared kind, on the wire, whose jobs are in this queue."""
        kind = self._registry.kinds[wire].kind
        tally = self._tallies[queue, wire] = _KindTally(self._queue(queue), self._registry.app, kind)
        return tally


class _QueueSeries:
    """The series of one queue. Its edges reach the largest timeout of its kinds, and ten times its objective."""

    def __init__(self, registry: Registry, queue: str) -> None:
        app = registry.app
        declared = registry.queues.get(queue)
        objective = DEFAULTS.objective if declared is None else declared.objective
        timeouts = [each.policy.timeout for each in registry.declarations.values() if each.queue == queue]
        longest = max((each or metrics.NO_TIMEOUT for each in timeouts), default=DEFAULTS.timeout)
        waits = metrics.edges_to(metrics.OBJECTIVES * objective, objective)
        self.wait = metrics.JOB_WAIT.with_edges(waits, app, queue)
        self.run = metrics.JOB_RUN.with_edges(metrics.edges_to(longest), app, queue)
        self.retries = metrics.RETRIES.of(app, queue)
        self.stale = metrics.STALE.of(app, queue)


class _KindTally:
    """What a batch has of one kind in one queue, until it is counted."""

    __slots__ = ("_bytes", "_cpu", "_queue", "_run", "_runs", "bytes", "cpu", "others", "took", "waits")

    def __init__(self, queue: _QueueSeries, app: str, kind: str) -> None:
        self._queue = queue
        self._runs = {outcome: metrics.KIND_RUNS.of(app, kind, outcome) for outcome in metrics.OUTCOMES}
        self._run = metrics.KIND_RUN.of(app, kind)
        self._cpu = metrics.KIND_CPU.of(app, kind)
        self._bytes = metrics.KIND_BYTES.of(app, kind)
        self._clear()

    def _clear(self) -> None:
        self.waits: list[float] = []
        self.took: list[float] = []
        self.others: list[str] = []
        """The outcomes other than succeeded."""
        self.bytes = 0
        self.cpu = 0.0

    def flush(self) -> None:
        """Count what was collected, and begin again."""
        waits, took, others = self.waits, self.took, self.others
        if min(waits) < 0:  # the clock of the host that enqueued is ahead
            waits = [max(0.0, each) for each in waits]
        self._queue.wait.observe(*waits)
        self._queue.run.observe(*took)
        self._run.observe(sum(took), len(took))
        self._bytes.add(self.bytes)
        if self.cpu:
            self._cpu.add(self.cpu)
        if len(took) > len(others):
            self._runs["succeeded"].add(len(took) - len(others))
        for outcome in others:
            self._runs[outcome].add()
            if outcome == "retried":
                self._queue.retries.add()
        self._clear()


def outcome_of(settlement: Settlement) -> str:
    """Return one of `OUTCOMES`: how a run has ended that was settled thus."""
    if isinstance(settlement, Finish):
        return settlement.state if settlement.state in metrics.OUTCOMES else "released"  # an expired job begins no run
    if isinstance(settlement, Reschedule):
        return "snoozed" if settlement.error is None else "retried"
    return "released"
