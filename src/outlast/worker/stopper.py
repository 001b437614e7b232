"""Stops runs that are past their timeout, superseded or cancelled, and all runs when the worker stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from outlast.core.clock import Clock
from outlast.core.settlement import Lost, Release
from outlast.worker.budget import Budget
from outlast.worker.finisher import RunFinisher
from outlast.worker.run import ProcessPort, Run, StopReason, stopped

__all__ = ["PATIENCE", "TICK", "RunStopper"]

TICK: Final = 0.05
"""Seconds between two checks of the deadlines: a timeout is at most this much late."""
PATIENCE: Final = 1.0
"""Seconds that a claimed job may wait here for a slot before it is released."""


class RunStopper:
    """Stops runs. Call every method in the event loop's thread.

    There is no timer per job: `tick` runs every TICK seconds while any run is held, and finds the overdue ones.
    A handler that swallows its cancellation keeps its slot; the supervisor kills the process after the hard deadline.
    """

    def __init__(self, budget: Budget, finisher: RunFinisher, pool: ProcessPort, clock: Clock) -> None:
        self._budget = budget
        self._finisher = finisher
        self._pool = pool
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    # Deadlines

    def watch(self) -> None:
        """Check the deadlines from now on, while any run is held."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def close(self) -> None:
        """Stop checking the deadlines."""
        if self._timer is not None:
            self._timer.cancel()

    def tick(self, now: float) -> None:
        """Stop the runs past their timeout; release the jobs that have waited too long for a slot."""
        for run in [run for run in self._budget.runs if 0 < run.deadline <= now and not run.ended and not run.carried]:
            if run.stop is None:
                self._stop(run, "timeout")
            elif run.group is self._budget.thread:
                self._detach_thread(run)  # it was cancelled and has not ended within the timeout
        for run in self._budget.withdraw(lambda run: run.claimed + PATIENCE < now):
            at = self._clock.time() + PATIENCE
            self._finisher.close(run, Release(run.delivery.fence, at=at, why="no slot came free in time"))

    def _tick(self) -> None:
        self._timer = None
        self.tick(self._clock.monotonic())
        if self._budget.runs:
            self.watch()

    # On demand

    def lost(self, losses: Sequence[Lost]) -> None:
        """Stop the runs that were superseded or whose jobs were cancelled."""
        if not losses:
            return
        # By id and token: all jobs of one claim may have the same token.
        known = {(run.delivery.fence.id, run.delivery.fence.token): run for run in self._budget.runs}
        for loss in losses:
            run = known.get((loss.fence.id, loss.fence.token))
            if run is not None and not run.ended:
                self._stop(run, loss.why)

    def release_waiting(self, why: str) -> None:
        """Release all jobs that wait for a slot."""
        for run in self._budget.withdraw(lambda run: True):
            self._finisher.close(run, Release(run.delivery.fence, why=why))

    def release_of(self, queue: str, why: str) -> None:
        """Release the jobs of a queue that wait for a slot."""
        for group in self._budget.groups:
            for run in [each for each in group.waiting if each.delivery.message.queue == queue]:
                group.waiting.remove(run)
                self._finisher.close(run, Release(run.delivery.fence, why=why))

    def abort(self) -> None:
        """Stop every run and release its job with its attempt.

        A thread cannot be stopped: its job is dropped here and not settled. The store still counts it as held, so that
        it runs nowhere else until this process has forfeited its jobs and ended.
        """
        for run in list(self._budget.runs):
            if not run.ended:
                self._stop(run, "aborted")
            if not run.ended and run.began and not run.carried and run.group is self._budget.thread:
                self._budget.detach(run)
                if run.task is not None:
                    run.task.cancel()  # the middleware around the thread can be stopped

    def abandon(self) -> bool:
        """Release the jobs of coroutines that have not ended after their cancellation; return whether any has not."""
        unended = [run for run in self._budget.runs if not run.ended]
        for run in unended:
            if run.task is not None:
                self._finisher.end(run, stopped(run))
        return bool(unended)

    def _stop(self, run: Run, why: StopReason) -> None:
        if run.stop is not None:
            return  # a second cancellation would interrupt the handler's clean-up
        if run.carried == "out" and why == "cancelled":
            return  # its work is done
        run.stop = why
        if not run.began:
            run.group.waiting.remove(run)
            self._finisher.end(run, stopped(run))
        elif run.carried:
            if run.task is not None:
                run.task.cancel()
        elif run.group.isolated:
            self._pool.kill(run)
        elif run.task is not None and run.group is not self._budget.thread:
            run.task.cancel()
        elif why in ("timeout", "superseded"):
            self._detach_thread(run)

    def _detach_thread(self, run: Run) -> None:
        """End a run whose thread still runs: its slot stays taken until the function returns."""
        if run.task is not None:  # the run ends when its middleware has ended
            if not run.task.cancelling():
                run.task.cancel()
            return
        run.group.stuck += 1
        self._finisher.end(run, stopped(run))
