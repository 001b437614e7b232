"""From a delivery to its settlement: look up the kind, admit, load the arguments, run, decide."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from outlast.aio.tasks import spawn
from outlast.aio.threads import Threads
from outlast.core.clock import Clock
from outlast.core.decide import Outcome, UnknownKind, admit, runs_alone
from outlast.core.message import Delivery
from outlast.core.settlement import Finish, Lost, Release, Settlement
from outlast.worker.call_plan import ThreadCall
from outlast.worker.job_map import STARTED, SharedJobMap
from outlast.worker.ports import RuntimePort
from outlast.worker.report import Reporter
from outlast.worker.run import ProcessPort, Run, RunPlan, StopReason, conclude, fail, run_plans, settled_as, stopped
from outlast.worker.slot_groups import SlotGroups

__all__ = ["PATIENCE", "SOLO_PAUSE", "TICK", "Executor"]

_logger = logging.getLogger("outlast.worker")

TICK: Final = 0.05
"""Seconds between two looks at the deadlines: a timeout is at most this much late."""
ROUNDS: Final = 4
"""Rounds of the loop in which a settlement that begins, and the claim beside it, are handed to the store."""
PATIENCE: Final = 1.0
"""Seconds that a claimed job may wait here for a slot before it is given back."""
SOLO_PAUSE: Final = 0.25
"""Seconds until a job that must run alone, and found too many before it, is offered again."""


class Executor:
    """Runs what was claimed, in four lanes. All its methods belong to the loop's thread.

    There is no timer per job: `tick`, called every TICK seconds while anything is here, looks for what is overdue.
    A handler that swallows its cancellation keeps its slot; the supervisor kills the process past the hard deadline.
    """

    def __init__(
        self,
        runtime: RuntimePort,
        *,
        concurrency: int,
        threads: int,
        processes: int,
        settle: Callable[[Run, Settlement], None],
        noted: Callable[[Run], None],
        isolate: ProcessPort,
        slot_map: SharedJobMap | None = None,
    ) -> None:
        self.clock: Clock = runtime.clock
        self.max_body = runtime.settings.max_body
        self.noted = noted
        self.held = 0
        self._starting = False
        self.finished = 0
        self.room = asyncio.Event()
        self._report = Reporter(runtime)
        self._tells_starts, self._tells_ends = self._report.tells_starts, self._report.tells_ends
        self._rng = runtime.rng
        self._kill_grace = runtime.settings.kill_grace
        self._settle = settle
        self._isolate = isolate
        self._slots = slot_map
        self._threads = Threads(threads, "outlast-job")
        self._lanes: SlotGroups[Run] = SlotGroups(
            most=concurrency, threads=threads, processes=processes, start=self._start_next
        )
        self._async, self._thread, self._process, self._solo = self._lanes.all
        self._plans = run_plans(runtime, self._lanes.of_mode)
        self._runs: dict[Run, None] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._ticking: asyncio.TimerHandle | None = None

    # What to claim

    def demand(self, queues: Iterable[str], trip: float) -> tuple[dict[str, int], int]:
        """Return how many jobs of each queue there is room for, and how many in all. trip: seconds to the store."""
        fed = ((plan.declaration.queue, plan.lane) for plan in self._plans.values())
        return self._lanes.demand(queues, fed, held=self.held, trip=trip)

    def settles_soon(self) -> bool:
        """Tell whether `room` is set before long: a run waits to be settled, or what is in line is about to start."""
        return self._starting or self.held - self._lanes.settling > self._lanes.unended()

    # Runs

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was claimed: start what has a slot, keep the rest in line for one."""
        now = self.clock.monotonic()
        wall = self.clock.time()
        lanes = self._lanes
        later = lanes.settling > 0
        for delivery in deliveries:
            message = delivery.message
            plan = self._plans.get(message.kind)
            lane = self._async if plan is None else plan.lane
            if delivery.crashes and runs_alone(delivery):
                lane = self._solo
            run = Run(delivery, plan, lane, self, now)
            self.held += 1
            lane.held += 1
            self._runs[run] = None
            if plan is None:
                self._report.unknown(message.kind)
                self._end(run, UnknownKind())
            elif message.expires_at is not None and (expired := admit(delivery, wall)) is not None:
                self._end(run, expired)
            elif not later and lane.taken < lane.slots and lanes.taken < lanes.most and not lane.waiting:
                self._start(run, plan, now)
            elif lane is not plan.lane and len(lane.waiting) >= lane.slots:
                # It was claimed for another lane's room: waiting here it would keep out jobs that could run now.
                self._close(run, Release(delivery.fence, at=wall + SOLO_PAUSE, why="no slot to run alone in"))
            else:
                lane.waiting.append(run)
                if self._slots is not None:
                    run.slot = self._slots.take(delivery)
        if later and not self._starting:
            self._starting = True
            self._start_after(ROUNDS)
        if self._runs:
            self._idle.clear()
            if self._ticking is None:
                self._ticking = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _start_after(self, rounds: int) -> None:
        """Start what waits, when a settlement on its way has reached the store: else both would wait for these runs."""
        if rounds:
            asyncio.get_running_loop().call_soon(self._start_after, rounds - 1)
            return
        self._starting = False
        self._lanes.pump(*self._lanes.all)
        if not self.settles_soon():
            self.room.set()  # nothing of it has ended at once: a claim that waits for that would wait for long

    def _start_next(self, run: Run) -> None:
        assert run.plan is not None
        self._start(run, run.plan, self.clock.monotonic())

    def _start(self, run: Run, plan: RunPlan, now: float) -> None:
        lane = run.lane
        lane.taken += 1
        self._lanes.taken += 1
        run.began = True
        run.started = now
        apart = lane is self._process or lane is self._solo
        if plan.timeout is not None and not apart:  # there it counts from when the child is up
            run.deadline = now + plan.timeout
        if not apart:
            self.begun(run)
        elif self._slots is not None and run.slot < 0:  # until its child is up, its death is no crash of this job
            run.slot = self._slots.take(run.delivery)
        if self._tells_starts:
            self._report.started(run)
        if apart:
            self._isolate.start(run, solo=runs_alone(run.delivery), answer=self._process_back)
            return
        try:
            values = run.values = plan.arguments.load(run.delivery.message.args)
        except BaseException as error:  # a validator is user code
            self._vacate(run)
            self._end(run, fail(run, error))
            return
        if lane is self._async:
            task = spawn(self._drive(run, plan, values), run.delivery.message.id)
        elif plan.around is not None:
            task = spawn(self._drive_around(run, plan, values), run.delivery.message.id)
        else:
            call = functools.partial(plan.handler, *((run.context(),) if plan.takes_context else ()), **values)
            self._threads.submit(call, functools.partial(self._thread_back, run))
            return
        if not run.ended:
            run.task = task

    def begun(self, run: Run) -> None:
        """Mark for the supervisor that it runs from now on; an isolated one when its child has got its job."""
        if self._slots is None:
            return
        hard = run.deadline + self._kill_grace if run.deadline else 0.0
        if run.slot < 0:
            run.slot = self._slots.take(run.delivery, STARTED, hard)
        else:
            self._slots.start(run.slot, hard)

    async def _drive(self, run: Run, plan: RunPlan, values: dict[str, Any]) -> None:
        try:
            value = await (plan.handler(run.context(), **values) if plan.takes_context else plan.handler(**values))
        except GeneratorExit:
            raise  # the loop is gone, and with it whoever could settle
        except BaseException as error:
            outcome = fail(run, error)
        else:
            outcome = conclude(run, value)
        self._vacate(run)
        if not run.ended:  # else it was abandoned
            self._end(run, outcome)
        self._lanes.next(run.lane)

    async def _drive_around(self, run: Run, plan: RunPlan, values: dict[str, Any]) -> None:
        """Run the middleware here, and within it the plain function in a thread."""
        assert plan.around is not None
        context = run.context()
        call = functools.partial(plan.handler, *((context,) if plan.takes_context else ()), **values)
        inner = ThreadCall(self._threads, call, late=functools.partial(self._thread_back, run, None, None))
        try:
            value = await plan.around(context, inner)
        except GeneratorExit:
            raise
        except BaseException as error:
            outcome = fail(run, error)
        else:
            outcome = conclude(run, value)
        inner.over = True
        forsaken, late = run.ended, inner.working > 0
        self._thread.stuck += late - forsaken  # a late function keeps the slot, and gives it up when it returns
        if not late:
            self._vacate(run)
        if not forsaken:
            self._end(run, outcome)
        if not late:
            self._lanes.next(run.lane)

    def _thread_back(self, run: Run, value: Any, error: BaseException | None) -> None:
        self._vacate(run)
        if run.ended:
            _logger.info("job %s: its thread came back after the job had ended", run.delivery.message.id)
            self._thread.stuck -= 1
            self.room.set()
        else:
            self._end(run, conclude(run, value) if error is None else fail(run, error))
        self._lanes.next(run.lane)

    def _process_back(self, run: Run, outcome: Outcome | None, settlement: Settlement | None) -> None:
        self._vacate(run)
        if outcome is not None:
            self._end(run, outcome)
        elif settlement is not None:
            self._close(run, settlement)
        self._lanes.next(run.lane)

    def _vacate(self, run: Run) -> None:
        run.lane.taken -= 1
        self._lanes.taken -= 1
        run.lane.run.add(self.clock.monotonic() - run.started)

    def _end(self, run: Run, outcome: Outcome) -> None:
        if run.stop == "superseded":
            self._drop(run)
            return
        self._close(run, settled_as(run, outcome, self._rng))

    def _close(self, run: Run, settlement: Settlement) -> None:
        run.ended = True
        run.task = None
        self.finished += 1
        if run.slot >= 0 and self._slots is not None:
            self._slots.end(run.slot)
        self._settle(run, settlement)

    def _drop(self, run: Run) -> None:
        run.ended = True
        run.task = None
        fence = run.delivery.fence
        entries = ((run, Release(fence)),)
        self.settling(entries)
        self.settled(entries, frozenset(((fence.id, fence.token),)))

    def settling(self, entries: Sequence[tuple[Run, Settlement]]) -> None:
        """Count as room what is on its way to the store: the claim that takes it shares the settlement's transaction.

        Called by the settler when a flush begins. While the store is away that flush does not come back, and no
        other begins: what is held beyond the bound is one batch at most.
        """
        for run, _ in entries:
            run.lane.settling += 1
        self._lanes.settling += len(entries)
        self.room.set()

    def settled(self, entries: Sequence[tuple[Run, Settlement]], superseded: frozenset[tuple[str, int]]) -> None:
        """Free what the store has taken over; called by the settler."""
        for run, settlement in entries:
            run.lane.settling -= 1
            run.lane.held -= 1
            if run.slot >= 0 and self._slots is not None:
                self._slots.clear(run.slot)
            del self._runs[run]
            if superseded and (run.delivery.fence.id, run.delivery.fence.token) in superseded:
                self._report.superseded(run)
            elif self._tells_ends or type(settlement) is not Finish or settlement.state != "succeeded":
                self._report.settled(run, settlement)
        self.held -= len(entries)
        self._lanes.settling -= len(entries)
        if not self._runs:
            self._idle.set()
            self.room.set()

    # Stopping runs

    def lost(self, losses: Sequence[Lost]) -> None:
        """Stop the runs that no longer count, or whose jobs were cancelled."""
        if not losses:
            return
        # A fence is its id and its token: all that one claim handed out may bear one token.
        known = {(run.delivery.fence.id, run.delivery.fence.token): run for run in self._runs}
        for loss in losses:
            run = known.get((loss.fence.id, loss.fence.token))
            if run is not None and not run.ended:
                self._stop(run, loss.why)

    def give_back(self, why: str) -> None:
        """Release everything that waits here for a slot."""
        for run in self._lanes.give_up(lambda run: True):
            self._close(run, Release(run.delivery.fence, why=why))

    def abort(self) -> None:
        """Stop every run; each gives its job back with its attempt.

        A thread cannot be stopped, only told: its job is let go of here without a word to the store, which goes on
        counting it as ours, so that it runs nowhere else before this process has handed back all it holds and ended.
        """
        for run in list(self._runs):
            if not run.ended:
                self._stop(run, "aborted")
            if not run.ended and run.began and run.lane is self._thread:
                self._forsake(run)

    def _forsake(self, run: Run) -> None:
        run.ended = True
        if self._slots is not None:
            self._slots.end(run.slot)
        if run.task is not None:
            run.task.cancel()  # the middleware around it, which can be stopped
        run.lane.stuck += 1
        run.lane.held -= 1
        self.held -= 1
        del self._runs[run]
        if not self._runs:
            self._idle.set()

    def abandon(self) -> None:
        """Give back the jobs of coroutines that have not obeyed their cancellation."""
        for run in list(self._runs):
            if not run.ended and run.task is not None:
                self._end(run, stopped(run))

    async def idle(self) -> None:
        """Return when nothing is held."""
        await self._idle.wait()

    def close(self) -> None:
        """Stop looking at deadlines; let idle threads go."""
        if self._ticking is not None:
            self._ticking.cancel()
        self._threads.close()

    def tick(self, now: float) -> None:
        """Stop what is past its timeout; give back what has waited here too long."""
        for run in [run for run in self._runs if 0 < run.deadline <= now and not run.ended]:
            if run.stop is None:
                self._stop(run, "timeout")
            elif run.lane is self._thread:
                self._give_up_thread(run)  # cancelled, and it has not obeyed within the timeout
        for run in self._lanes.give_up(lambda run: run.claimed + PATIENCE < now):
            at = self.clock.time() + PATIENCE
            self._close(run, Release(run.delivery.fence, at=at, why="no slot came free in time"))

    def _tick(self) -> None:
        self._ticking = None
        self.tick(self.clock.monotonic())
        if self._runs:
            self._ticking = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _stop(self, run: Run, why: StopReason) -> None:
        if run.stop is not None:
            return  # asking again would break into the handler's clean-up
        run.stop = why
        if not run.began:
            run.lane.waiting.remove(run)
            self._end(run, stopped(run))
        elif run.lane is self._process or run.lane is self._solo:
            self._isolate.kill(run)
        elif run.task is not None and run.lane is not self._thread:
            run.task.cancel()
        elif why in ("timeout", "superseded"):
            self._give_up_thread(run)

    def _give_up_thread(self, run: Run) -> None:
        """End a run whose thread goes on: the slot stays taken until the function returns."""
        if run.task is not None:  # the middleware around it ends the run, once it has unwound
            if not run.task.cancelling():
                run.task.cancel()
            return
        self._thread.stuck += 1
        self._end(run, stopped(run))
