"""Runs claimed jobs: finds the kind, admits, loads the arguments, calls the handler, and ends the run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from outlast.aio.tasks import spawn
from outlast.aio.threads import Threads
from outlast.core.clock import Clock
from outlast.core.decide import Outcome, UnknownKind, admit, runs_alone
from outlast.core.message import Delivery
from outlast.core.settlement import Release, Settlement
from outlast.declare.once import EffectsPort
from outlast.resilience.deadlines import ends_at, restore
from outlast.resilience.passes import with_passes
from outlast.worker.budget import Budget
from outlast.worker.call_plan import ThreadCall
from outlast.worker.carrier import Carrier
from outlast.worker.effects import EffectKeeper
from outlast.worker.finisher import RunFinisher
from outlast.worker.ports import RuntimePort
from outlast.worker.report import Reporter
from outlast.worker.run import ProcessPort, Run, RunPlan, conclude, fail, run_plans, stopped
from outlast.worker.slot_groups import SlotGroup
from outlast.worker.stopper import RunStopper

if TYPE_CHECKING:
    from outlast.worker.gates import Gates

__all__ = ["SOLO_PAUSE", "Executor"]

ROUNDS: Final = 4
"""Turns of the event loop until a settlement that begins, and the claim beside it, have reached the store."""
SOLO_PAUSE: Final = 0.25
"""Seconds until a job that must run alone, and found all such slots taken, is offered again."""


class Executor:
    """Runs each delivery on the event loop, in a thread or in a child process. Call every method in the loop's thread.

    settle: takes each run that has ended, with its settlement. noted: takes each run that has notes to save.
    effects: calls the store for `ctx.once`.
    gates: of the queues that need guards. stopper: stops runs before their end.
    """

    def __init__(
        self,
        runtime: RuntimePort,
        budget: Budget,
        report: Reporter,
        *,
        settle: Callable[[Run, Settlement], None],
        noted: Callable[[Run], None],
        effects: EffectKeeper,
        pool: ProcessPort,
        gates: Gates | None = None,
    ) -> None:
        self.clock: Clock = runtime.clock
        self.max_body = runtime.settings.max_body
        self.noted = noted
        self.check_progress = runtime.check_progress
        self._check_once = runtime.check_once
        self._effects = effects
        self.begun = budget.begun
        self._budget = budget
        self._report = report
        self._pool = pool
        self._gates = gates
        self._tracing = runtime.tracing
        self._threads = Threads(budget.thread.slots, "outlast-job")
        self._plans = run_plans(runtime, budget.by_mode)
        keeps = runtime.store.keeps_records()
        self._carrier = Carrier(runtime.claims, budget, runtime.clock, runtime.rng, keeps_results=keeps)
        self._finisher = RunFinisher(budget, report, settle, runtime.rng, self._carrier)
        self.stopper = RunStopper(budget, self._finisher, pool, runtime.clock)
        self._pumping = False
        self._loop = asyncio.get_running_loop()
        self._around = copy_context()

    def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Take claimed jobs: end those that cannot run, start those that have a slot, let the others wait for one."""
        now = self.clock.monotonic()
        wall = self.clock.time()
        budget = self._budget
        later = budget.settling > 0
        gates = self._gates if self._gates is not None and self._gates.active else None
        for delivery in deliveries:
            message = delivery.message
            plan = self._plans.get(message.kind)
            group = budget.loop if plan is None else plan.group
            if delivery.crashes and runs_alone(delivery):
                group = budget.solo
            run = Run(delivery, plan, group, self, now)
            budget.hold(run)
            if plan is None:
                self._report.unknown(message.kind)
                self._finisher.end(run, UnknownKind())
            elif message.expires_at is not None and (expired := admit(delivery, wall)) is not None:
                self._finisher.end(run, expired)
            elif gates is not None and not gates.admits(run):
                self._finisher.close(run, Release(delivery.fence, why=gates.why(message.queue)))
            elif not later and not group.waiting and budget.take_slot(group):
                self._start(run, now)
            elif group is budget.solo and len(group.waiting) >= group.slots:
                # It was claimed for the room of another group: waiting here, it would take that room from other jobs.
                at = wall + SOLO_PAUSE
                self._finisher.close(run, Release(delivery.fence, at=at, why="no slot to run alone in"))
            else:
                budget.wait(run)
        if later and not budget.starting:
            budget.starting = True
            self._start_after(ROUNDS)
        if budget.runs:
            budget.idle.clear()
            self.stopper.watch()

    def effects_of(self, run: Run) -> EffectsPort:
        """Return the effects of a run; raise ConfigurationError where the store keeps none."""
        self._check_once()
        if run.effects_port is None:
            run.effects_port = self._effects.of(run)
        return run.effects_port

    def close(self) -> None:
        """Stop checking deadlines; end the idle threads."""
        self.stopper.close()
        self._threads.close()

    # Starting

    def _start_after(self, rounds: int) -> None:
        """Start the waiting runs when the current settlement has reached the store: else both would wait for them."""
        if rounds:
            asyncio.get_running_loop().call_soon(self._start_after, rounds - 1)
            return
        budget = self._budget
        budget.starting = False
        self._start_waiting(*budget.groups)
        if not budget.settles_soon():
            budget.room.set()  # no run has ended at once: the claim must not wait for one that does

    def _start_next(self, group: SlotGroup[Run]) -> None:
        """Start waiting runs when a slot of `group` is free again."""
        if group.waiting:
            self._start_waiting(group)
        if self._budget.taken + 1 >= self._budget.concurrency:
            self._start_waiting(*self._budget.groups)  # it was full: other groups may wait for this slot

    def _start_waiting(self, *groups: SlotGroup[Run]) -> None:
        for group in groups:
            if self._pumping:
                return  # a run ended inside `_start`: the loop below continues; a call would grow the stack
            self._pumping = True
            try:
                while group.waiting and self._budget.take_slot(group):
                    self._start(group.waiting.popleft(), self.clock.monotonic())
            finally:
                self._pumping = False

    def _start(self, run: Run, now: float) -> None:
        """Start a run that has its slot. It may have ended when this returns."""
        run.began = True
        if self._carrier.is_reference(run):
            run.started = now
            self._budget.claimed(run)
            self._carrier.carry_in(run, functools.partial(self._carried, run))
        else:
            self._begin(run, now)

    def _carried(self, run: Run, end: Outcome | Release | None) -> None:
        """Begin a run whose arguments have come, or end it."""
        now = self.clock.monotonic()
        if end is None and run.stop is None and not run.ended:
            self._begin(run, now)
            return
        self._budget.free_slot(run, now)
        if not run.ended:  # ended: the worker has given it up
            if run.stop is not None or end is None:
                self._finisher.end(run, stopped(run))
            elif isinstance(end, Release):
                self._finisher.close(run, end)
            else:
                self._finisher.end(run, end)
        self._start_next(run.group)

    def _begin(self, run: Run, now: float) -> None:
        """Begin a run that has its arguments. It may have ended when this returns.

        This line may be in the context of a run that has just ended: what that has set, such as a tenant or a span,
        must not reach this one.
        """
        self._around.copy().run(self._begin_here, run, now)

    def _begin_here(self, run: Run, now: float) -> None:
        """Begin a run in this context, as its group requires."""
        plan, group = run.plan, run.group
        assert plan is not None
        if group.isolated:
            run.started = now
            self._budget.claimed(run)
        else:
            run.begin(now)
        if self._tracing is not None and (tracer := self._tracing.tracer()) is not None:
            run.begin_trace(tracer.began(run.delivery))
        if self._report.wants_starts:
            self._report.started(run)
        if run.passes is None:
            self._call(run, plan, group)
        else:
            with_passes(run.passes, self._call, run, plan, group)

    def _call(self, run: Run, plan: RunPlan, group: SlotGroup[Run]) -> None:
        """Call the handler, or let a child process call it."""
        if group.isolated:
            self._pool.start(run, solo=group is self._budget.solo, answer=self._process_returned)
            return
        try:
            values = run.values = plan.arguments.load(run.delivery.message.args)
        except BaseException as error:  # a validator is user code
            self._budget.free_slot(run, self.clock.monotonic())
            self._finisher.end(run, fail(run, error))
            return
        if group is self._budget.loop:
            task = spawn(self._run_on_loop(run, plan, values), run.delivery.message.id)
        elif plan.around is not None:
            task = spawn(self._run_around_thread(run, plan, values), run.delivery.message.id)
        else:
            call = plan.bind(run.context() if plan.takes_context else None, values)
            around = ends_at(plan.timeout)  # the thread gets a copy of this context
            trace = run.trace
            entered = None if trace is None else trace.enter()
            self._threads.submit(call, functools.partial(self._thread_returned, run))
            if trace is not None:
                trace.leave(entered)
            restore(around)
            return
        if not run.ended:
            run.task = task

    # Running

    async def _run_on_loop(self, run: Run, plan: RunPlan, values: dict[str, Any]) -> None:
        ends_at(plan.timeout)
        if run.trace is not None:
            run.trace.enter()  # for the rest of this task
        try:
            value = await (plan.handler(run.context(), **values) if plan.takes_context else plan.handler(**values))
        except BaseException as error:
            if asyncio._get_running_loop() is not self._loop:
                raise  # this coroutine is closed after the end of its event loop: nothing can be settled
            outcome = fail(run, error)
        else:
            outcome = conclude(run, value)
        self._budget.free_slot(run, self.clock.monotonic())
        if not run.ended:  # ended: it was abandoned
            self._finisher.end(run, outcome)
        self._start_next(run.group)

    async def _run_around_thread(self, run: Run, plan: RunPlan, values: dict[str, Any]) -> None:
        """Run the middleware on the event loop, and the plain function that it awaits in a thread."""
        assert plan.around is not None
        ends_at(plan.timeout)
        if run.trace is not None:
            run.trace.enter()
        context = run.context()
        late = functools.partial(self._thread_returned, run, None, None)
        inner = ThreadCall(self._threads, plan.bind(context, values), late)
        try:
            value = await plan.around(context, inner)
        except BaseException as error:
            if asyncio._get_running_loop() is not self._loop:
                raise
            outcome = fail(run, error)
        else:
            outcome = conclude(run, value)
        inner.over = True
        already_ended = run.ended
        if inner.working:  # the function keeps the slot until it returns
            run.group.stuck += not already_ended
        else:
            run.group.stuck -= already_ended
            self._budget.free_slot(run, self.clock.monotonic())
        if not already_ended:
            self._finisher.end(run, outcome)
        if not inner.working:
            self._start_next(run.group)

    def _thread_returned(self, run: Run, value: Any, error: BaseException | None) -> None:
        self._budget.free_slot(run, self.clock.monotonic())
        if run.ended:
            self._report.returned_late(run)
            run.group.stuck -= 1
            self._budget.room.set()
        else:
            self._finisher.end(run, conclude(run, value) if error is None else fail(run, error))
        self._start_next(run.group)

    def _process_returned(self, run: Run, outcome: Outcome | None, settlement: Settlement | None) -> None:
        self._budget.free_slot(run, self.clock.monotonic())
        if settlement is not None:
            self._finisher.close(run, settlement)
        else:
            assert outcome is not None  # an answer has one of the two
            self._finisher.end(run, outcome)
        self._start_next(run.group)
