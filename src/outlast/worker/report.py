"""Reports the results of runs: logs each failure with its exception, a success not at all, and emits events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final

from outlast.core.events import (
    JobEnded,
    JobEnqueued,
    JobLost,
    JobPostponed,
    JobRefused,
    JobRetried,
    JobStarted,
    trace_of,
)
from outlast.core.message import Failure, Message
from outlast.core.settlement import Finish, Release, Reschedule, Settlement
from outlast.core.text import line
from outlast.worker.budget import EndedRun
from outlast.worker.failures import handler_frames
from outlast.worker.follow_ups import NONE, Absent
from outlast.worker.ports import RuntimePort
from outlast.worker.run import Run
from outlast.worker.tally import RunTally

__all__ = ["FailedRun", "Reporter", "Superseded"]

_logger = logging.getLogger("outlast.worker")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
_SAME_OUTAGE: Final = 10.0
"""Seconds after the last job that a guard put off was due again; one that is put off later tells of a new outage."""
Superseded = frozenset[tuple[str, int]]
"""Ids and tokens of fences of runs whose jobs were delivered to another holder."""


class FailedRun(Exception):
    """Stands in a log record for the exception of a run whose own is in another process, or may show redacted values.

    It has the stored text, in which redacted values are masked, and no frames, whose variables would show them.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure: Final = failure
        self.add_note(failure.traceback)


class Reporter:
    """Reports after the store has recorded the settlements. Never raises: handlers of the log are user code.

    A log line names the job and the error, never an argument. The record of a failed run has its exception as
    `exc_info`, and each record has the attributes `job`, `queue`, `kind` and `attempt`.
    wants_starts, wants_ends: whether the app observes starts of runs, and successful ends. tally: counts the runs.
    """

    def __init__(self, runtime: RuntimePort, tally: RunTally | None = None) -> None:
        self.wants_starts = bool(runtime.observers.of(JobStarted))
        self.wants_ends = bool(runtime.observers.of(JobEnded)) or bool(runtime.observers.of(JobEnqueued))
        self._emit = runtime.emit
        self._clock = runtime.clock
        self._same_kind = runtime.registry.same_kind
        self._tally = tally
        self._unknown: set[str] = set()
        self._outages: dict[str, float] = {}

    def started(self, run: Run) -> None:
        """Report that a run began."""
        message = run.delivery.message
        waited = max(0.0, self._clock.time() - message.run_at)
        attempt = run.delivery.attempt
        self._emit(JobStarted(message.id, message.queue, message.kind, attempt, waited, run.traceparent))

    def settled(self, batch: Sequence[EndedRun], superseded: Superseded = frozenset(), absent: Absent = NONE) -> None:
        """Report recorded settlements, and the superseded runs among them. absent: follow-ups that were not stored."""
        if self._tally is not None and self._tally.settled(batch, superseded) and not (absent or self.wants_ends):
            return  # nothing is told of runs that succeeded
        for run, settlement in batch:
            if superseded and (run.delivery.fence.id, run.delivery.fence.token) in superseded:
                self.superseded(run)
                continue
            if absent and isinstance(settlement, Finish | Reschedule):
                self._conflicts(run, settlement.then, absent)
            if self.wants_ends or type(settlement) is not Finish or settlement.state != "succeeded":
                self._settled(run, settlement, absent)
                run.error = None

    def _conflicts(self, run: Run, then: Sequence[Message], absent: Absent) -> None:
        """Report the follow-ups that are lost, because a job of another kind has their id or their unique key."""
        for each in then:
            record = absent.get(each.id)
            if record is not None and not self._same_kind(record.kind, each.kind):
                what = "id" if record.id == each.id else "unique key"
                text = "job %s: its follow-up %s (%s) is not stored: job %s of kind %s has its %s"
                names = (run.delivery.message.id, each.id, each.kind, record.id, record.kind, what)
                with suppress(BaseException):
                    _logger.error(text, *map(line, names))
                self._emit(JobRefused(each.id, each.queue, each.kind, "conflict", trace_of(each)))

    def _settled(self, run: Run, settlement: Settlement, absent: Absent) -> None:
        message = run.delivery.message
        if isinstance(settlement, Finish):
            if settlement.state == "dead":
                text = "is dead (%s) after attempt %d"
                self._log(logging.ERROR, run, text, settlement.reason, run.delivery.attempt, failure=settlement.error)
            if self.wants_ends:
                for then in settlement.then:
                    if then.id not in absent:
                        self._emit(JobEnqueued(then.id, then.queue, then.kind, then.run_at, trace_of(then)))
                seconds = (run.took or self._clock.monotonic() - run.started) if run.began else 0.0
                self._emit(
                    JobEnded(
                        message.id,
                        message.queue,
                        message.kind,
                        settlement.state,
                        settlement.reason,
                        seconds,
                        settlement.usage,
                        run.traceparent,
                    )
                )
        elif isinstance(settlement, Reschedule) and settlement.error is not None:
            error = settlement.error
            wait = max(0.0, settlement.at - self._clock.time())
            text = "failed attempt %d, next in %.1f s"
            self._log(logging.WARNING, run, text, run.delivery.attempt, wait, failure=error)
            text = f"{error.type}: {error.message}"
            attempt, at = run.delivery.attempt, settlement.at
            trace = run.traceparent
            self._emit(JobRetried(message.id, message.queue, message.kind, attempt, at, text, trace))
        elif isinstance(settlement, Release) and settlement.guard and settlement.at is not None:
            self._postponed(run, settlement.guard, settlement.at)

    def _postponed(self, run: Run, guard: str, at: float) -> None:
        """Report that a guard has put the job off: each job to observers, the log once an outage."""
        over = self._outages.get(guard, 0.0)
        self._outages[guard] = max(over, at + _SAME_OUTAGE)
        if over < self._clock.time():
            with suppress(BaseException):
                text = (
                    "guard %r makes no calls now: jobs that meet it are put off and use up no attempt, as job %s (%s)"
                )
                _logger.warning(text, guard, line(run.delivery.message.id), line(run.delivery.message.kind))
        message = run.delivery.message
        self._emit(JobPostponed(message.id, message.queue, message.kind, guard, at, run.traceparent))

    def superseded(self, run: Run) -> None:
        """Report that a run was superseded."""
        message = run.delivery.message
        if self._tally is not None:
            self._tally.superseded(message.queue)
        text = "was superseded in attempt %d: the result of this run is dropped"
        self._log(logging.WARNING, run, text, run.delivery.attempt)
        self._emit(JobLost(message.id, message.queue, run.traceparent))

    def returned_late(self, run: Run) -> None:
        """Report that the thread of a run returned after the run had ended."""
        self._log(logging.INFO, run, "had ended when its thread returned from attempt %d", run.delivery.attempt)

    def unknown(self, kind: str) -> None:
        """Report a parked job of a kind that is not declared here; once per kind."""
        if kind not in self._unknown and len(self._unknown) < 1000:
            self._unknown.add(kind)
            with suppress(BaseException):
                _logger.warning(
                    "kind %r is not declared by this app: its jobs are parked for a worker that declares it", kind
                )

    def _log(self, level: int, run: Run, text: str, *values: object, failure: Failure | None = None) -> None:
        message = run.delivery.message
        extra = {
            "job": message.id,
            "queue": message.queue,
            "kind": message.kind,
            "attempt": run.delivery.attempt,
            "trace": run.traceparent,
        }
        if failure is not None:
            text += ": %s: %s"
            values += (failure.type, line(failure.message))
        with suppress(BaseException):  # the texts of an exception are user code too, and so are handlers and filters
            _logger.log(
                level,
                f"job %s (%s) {text}",
                line(message.id),
                line(message.kind),
                *values,
                exc_info=_exc_info(run.error, failure),
                extra=extra,
            )


def _exc_info(error: BaseException | None, failure: Failure | None) -> _ExcInfo | None:
    """Return what a log record has of the exception of a run: without the frames of the worker."""
    if failure is None or not failure.traceback:
        return None
    if error is not None:
        return type(error), error, handler_frames(error.__traceback__)
    return FailedRun, FailedRun(failure), None
