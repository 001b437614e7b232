"""Reports the results of runs: logs each failure with one line, a success with none, and emits events."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from outlast.core.events import JobEnded, JobEnqueued, JobLost, JobRefused, JobRetried, JobStarted
from outlast.core.message import Message
from outlast.core.settlement import Finish, Reschedule, Settlement
from outlast.worker.budget import EndedRun
from outlast.worker.follow_ups import NONE, Absent
from outlast.worker.ports import RuntimePort
from outlast.worker.run import Run

__all__ = ["Reporter", "Superseded"]

_logger = logging.getLogger("outlast.worker")

Superseded = frozenset[tuple[str, int]]
"""Ids and tokens of fences of runs whose jobs were delivered to another holder."""


class Reporter:
    """Reports after the store has recorded the settlements. Log lines name the job and the error, never an argument.

    wants_starts, wants_ends: whether the app observes starts of runs, and successful ends.
    """

    def __init__(self, runtime: RuntimePort) -> None:
        self.wants_starts = bool(runtime.observers.of(JobStarted))
        self.wants_ends = bool(runtime.observers.of(JobEnded)) or bool(runtime.observers.of(JobEnqueued))
        self._emit = runtime.emit
        self._clock = runtime.clock
        self._same_kind = runtime.registry.same_kind
        self._unknown: set[str] = set()

    def started(self, run: Run) -> None:
        """Report that a run began."""
        message = run.delivery.message
        waited = max(0.0, self._clock.time() - message.run_at)
        self._emit(JobStarted(message.id, message.queue, message.kind, run.delivery.attempt, waited))

    def settled(self, batch: Sequence[EndedRun], superseded: Superseded = frozenset(), absent: Absent = NONE) -> None:
        """Report recorded settlements, and the superseded runs among them. absent: follow-ups that were not stored."""
        for run, settlement in batch:
            if superseded and (run.delivery.fence.id, run.delivery.fence.token) in superseded:
                self.superseded(run)
                continue
            if absent and isinstance(settlement, Finish | Reschedule):
                self._conflicts(run, settlement.then, absent)
            if self.wants_ends or type(settlement) is not Finish or settlement.state != "succeeded":
                self._settled(run, settlement, absent)

    def _conflicts(self, run: Run, then: Sequence[Message], absent: Absent) -> None:
        """Report the follow-ups that are lost, because a job of another kind has their id or their unique key."""
        for each in then:
            record = absent.get(each.id)
            if record is not None and not self._same_kind(record.kind, each.kind):
                what = "id" if record.id == each.id else "unique key"
                _logger.error(
                    "job %s: its follow-up %s (%s) is not stored: job %s of kind %s has its %s",
                    run.delivery.message.id,
                    each.id,
                    each.kind,
                    record.id,
                    record.kind,
                    what,
                )
                self._emit(JobRefused(each.id, each.queue, each.kind, "conflict"))

    def _settled(self, run: Run, settlement: Settlement, absent: Absent) -> None:
        message = run.delivery.message
        if isinstance(settlement, Finish):
            if settlement.state == "dead":
                error = settlement.error
                what = "" if error is None else f": {error.type}: {error.message}"
                _logger.error(
                    "job %s (%s) is dead (%s) after attempt %d%s",
                    message.id,
                    message.kind,
                    settlement.reason,
                    run.delivery.attempt,
                    what,
                )
            if self.wants_ends:
                for then in settlement.then:
                    if then.id not in absent:
                        self._emit(JobEnqueued(then.id, then.queue, then.kind, then.run_at))
                seconds = self._clock.monotonic() - run.started if run.began else 0.0
                self._emit(
                    JobEnded(
                        message.id,
                        message.queue,
                        message.kind,
                        settlement.state,
                        settlement.reason,
                        seconds,
                        settlement.usage,
                    )
                )
        elif isinstance(settlement, Reschedule) and settlement.error is not None:
            error = settlement.error
            _logger.warning(
                "job %s (%s) failed attempt %d, next in %.1f s: %s: %s",
                message.id,
                message.kind,
                run.delivery.attempt,
                max(0.0, settlement.at - self._clock.time()),
                error.type,
                error.message,
            )
            text = f"{error.type}: {error.message}"
            self._emit(JobRetried(message.id, message.queue, message.kind, run.delivery.attempt, settlement.at, text))

    def superseded(self, run: Run) -> None:
        """Report that a run was superseded."""
        message = run.delivery.message
        _logger.warning("job %s was superseded: the result of this run is dropped", message.id)
        self._emit(JobLost(message.id, message.queue))

    def unknown(self, kind: str) -> None:
        """Report a parked job of a kind that is not declared here; once per kind."""
        if kind not in self._unknown and len(self._unknown) < 1000:
            self._unknown.add(kind)
            _logger.warning(
                "kind %r is not declared by this app: its jobs are parked for a worker that declares it", kind
            )
