"""One worker in one event loop: claims, runs, settles, renews its lease, and stops without losing a job."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import uuid4

from outlast.aio.tasks import cancel, ended_within
from outlast.brokers.registry import connect
from outlast.core.errors import ConfigurationError, OutlastError, StoreError, StoreMoved
from outlast.core.events import Event, WorkerStalled
from outlast.core.message import Holder
from outlast.core.settlement import Lost, Release
from outlast.core.store.store import Store
from outlast.core.text import counted
from outlast.worker import lifecycle
from outlast.worker.app_source import AppSource, find_source, in_child_import
from outlast.worker.budget import Budget
from outlast.worker.claim_sweep import sweep_of
from outlast.worker.claimer import Claimer
from outlast.worker.consumer_watch import ConsumerWatch
from outlast.worker.costs import CostKeeper, keeper_of
from outlast.worker.effects import EffectKeeper
from outlast.worker.executor import Executor
from outlast.worker.intake import intakes_of
from outlast.worker.isolation.pool import ProcessPool
from outlast.worker.job_map import SharedJobMap
from outlast.worker.notes import NoteKeeper
from outlast.worker.plain_log import enable_loggers
from outlast.worker.ports import RuntimePort
from outlast.worker.pulse import Pulse
from outlast.worker.purpose import check_purpose
from outlast.worker.renewal import ThreadRenewal, renew
from outlast.worker.report import Reporter
from outlast.worker.scheduling import scheduler_of
from outlast.worker.settler import Settler, Settlers
from outlast.worker.stopper import RunStopper
from outlast.worker.store_link import StoreLink
from outlast.worker.tally import RunTally
from outlast.worker.worker_gauges import WorkerGauges

if TYPE_CHECKING:
    from outlast.worker.gates import Gates

__all__ = ["STALL_PATIENCE", "Worker", "WorkerTorn", "new_holder"]

_logger = logging.getLogger("outlast.worker")

STALL_PATIENCE: Final = 30.0
"""Seconds that a call to the store may take in addition to its wait; after that it counts as hung."""
_UNWIND: Final = 2.0
"""Seconds that a cancelled handler has for its clean-up when the worker stops."""
_LAST_CALL: Final = 2.0
"""Seconds that the store has to take back what a stopped worker holds; after that its lease lapses."""
_FLUSH: Final = 2.0
"""Seconds that the collector of traces has to take the last spans."""


class WorkerTorn(RuntimeError):
    """The code of a job ended a task of the worker that runs it: cancelled it, or raised SystemExit in it."""


def new_holder() -> Holder:
    """Return a new holder for this process."""
    return Holder(uuid4().hex, f"{socket.gethostname()}:{os.getpid()}")


class Worker:
    """Runs the jobs of some queues until it is stopped.

    Without a `job_map` it has no supervisor: a thread renews its lease, which helps against a handler that blocks the
    event loop, but not against one that holds the GIL. With a `job_map` its supervisor renews the lease and reports
    lost jobs to `lose`. When the supervisor has ended, call `orphaned`: it then renews its lease itself. Where the
    connection holds the jobs (`Capabilities.leases`), nothing is renewed.
    """

    def __init__(
        self,
        runtime: RuntimePort,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        threads: int | None = None,
        processes: int | None = None,
        holder: Holder | None = None,
        job_map: SharedJobMap | None = None,
        target: str | None = None,
        imports: Sequence[str] = (),
        stall_patience: float = STALL_PATIENCE,
        torn: Callable[[str], NoReturn] | None = None,
    ) -> None:
        """Make a worker of all declared queues, or of some. Raise ConfigurationError for a queue that is not declared.

        target: "module:attribute" of the app, for child processes; None to find it in the imported modules, with all
        that declare its jobs. imports: more modules that child processes need.
        torn: ends the process at once, with the reason, when a task of this worker has ended other than by an error of
        Outlast's; what the job map says then counts. None: the worker raises WorkerTorn, or that error, when its runs
        have ended.
        """
        if in_child_import():
            raise ConfigurationError(
                "a child process imports the code of its job, and that started a Worker: "
                "start it below `if __name__ == '__main__':`, or in a function"
            )
        settings = runtime.settings
        declared = runtime.registry.queues
        unknown = [name for name in queues or () if name not in declared]
        if unknown:
            known = ", ".join(sorted(declared)) or "none"
            raise ConfigurationError(f"queue {unknown[0]!r} is not declared by this app (declared: {known})")
        runtime.registry.needs()  # a guard that is not declared is refused before a store is opened
        self.holder: Final = holder or new_holder()
        self._runtime = runtime
        self._named = queues
        self.queues: Final = tuple(queues or declared)
        self._concurrency = settings.concurrency if concurrency is None else concurrency
        self._thread_slots = settings.threads if threads is None else threads
        self._process_slots = settings.processes if processes is None else processes
        self._job_map = job_map
        self._patience = stall_patience
        self._source = self._find(target, imports)
        self._torn = torn
        self._grace_over = asyncio.Event()
        self._orphaned = asyncio.Event()
        self._failed: asyncio.Future[None] | None = None
        self._stopper: RunStopper | None = None
        self._tally = RunTally(runtime.registry, runtime.clock, self.queues)
        self._drain_until = 0.0

    def _find(self, target: str | None, imports: Sequence[str]) -> AppSource | None:
        if target is not None:
            return AppSource(target, tuple(imports), path=tuple(sys.path))
        found = find_source(self._runtime.registry, imports=imports)
        isolated = [each.kind for each in self._runtime.registry.declarations.values() if each.mode == "process"]
        if found is None and isolated:
            raise ConfigurationError(
                f"job {isolated[0]!r} has isolate='process', and its child must import the app: keep the Outlast(...) "
                "at the top level of a module, or start the worker with a target such as 'main:shop'"
            )
        return found

    @property
    def ready(self) -> bool:
        """Whether it is consuming."""
        return self._stopper is not None

    def end_grace(self) -> None:
        """End the grace period of a stop now."""
        self._grace_over.set()

    def orphaned(self) -> None:
        """Renew the lease here from now on: the supervisor has ended. The caller also stops the worker."""
        self._orphaned.set()

    def emit(self, event: Event) -> None:
        """Pass an event to the app's observers."""
        self._runtime.emit(event)

    def lose(self, losses: Sequence[Lost]) -> None:
        """Stop the runs that were superseded or cancelled, as the renewal of the lease has told."""
        if any(each.why == "superseded" for each in losses):
            self._tally.lapsed()
        self._lost(losses)

    def _lost(self, losses: Sequence[Lost]) -> None:
        if self._stopper is not None:
            self._stopper.lost(losses)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then let runs end for `drain_grace` seconds and release the rest with its attempts.

        Jobs in threads that still run are released too: end the process soon. Raise StoreError when the store cannot be
        opened or used, StoreStalled when it does not answer, HookFailed, WorkerTorn. A cancellation of the call stops
        without a grace period.
        """
        enable_loggers()
        registry, store = self._runtime.registry, self._runtime.store
        check_purpose(registry, self._named)
        with self._runtime.in_use():
            await store.broker.open()
            await store.declare(registry)
            if registry.on_start and not await lifecycle.start(registry.on_start, stop):
                return
            try:
                await self._run(stop, store)
            finally:
                if registry.on_stop:
                    left = self._drain_until - asyncio.get_running_loop().time()
                    await lifecycle.stop(registry.on_stop, left, self._grace_over)
                tracing = self._runtime.tracing
                if tracing is not None and tracing.tracer() is not None:
                    await asyncio.to_thread(tracing.flush, _FLUSH)

    async def _run(self, stop: asyncio.Event, store: Store) -> None:
        offered = store.broker.capabilities
        # Where the connection holds the jobs, a second one beside it would take more of them: the broker reconnects.
        reconnect = self._connect if offered.shared and offered.leases else None
        link = StoreLink(store, self._runtime.clock, self._runtime.rng, reconnect=reconnect, patience=self._patience)
        link.on_stall = lambda seconds: self._runtime.emit(WorkerStalled(self.holder.id, seconds))
        scheduler = await scheduler_of(self._runtime, link)
        self._failed = asyncio.get_running_loop().create_future()
        pool = self._pool()
        notes = NoteKeeper(link, self._lost)
        report = Reporter(self._runtime, self._tally)
        costs = keeper_of(link, self.holder.id, self._runtime.app_name)
        budget = Budget(
            self._runtime,
            concurrency=self._concurrency,
            threads=self._thread_slots,
            processes=self._process_slots,
            job_map=self._job_map,
            costs=None if costs is None else costs.sums,
        )

        def make_settler(queue: str = "") -> Settler:
            return Settler(link, budget, report, broken=self._unsettled, queue=queue)

        settler = Settlers(make_settler) if offered.spread else make_settler()
        gates = self._gates(budget, link)
        effects = EffectKeeper(functools.partial(link.retry, "once"), self._lost)
        executor = Executor(
            self._runtime,
            budget,
            report,
            settle=settler.add,
            noted=notes.noted,
            effects=effects,
            pool=pool,
            gates=gates,
        )
        stopper = self._stopper = executor.stopper
        claimer = Claimer(
            link,
            budget,
            executor.accept,
            queues=self.queues,
            holder=self.holder,
            lease=self._runtime.settings.lease,
            gates=gates,
        )
        pulse = Pulse(self._job_map, claimer, link, budget=budget, gates=gates, queues=self.queues)
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(link.close)
                stack.callback(pulse.beat)  # with the exact number of ended runs, for the supervisor's log
                stack.callback(executor.close)
                stack.push_async_callback(notes.close)
                stack.push_async_callback(self._release_all, link, settler, budget)
                stack.push_async_callback(pool.close)
                await self._start_background(stack, link, budget, pulse=pulse, costs=costs)
                if gates is not None:
                    stack.callback(gates.close)
                    await gates.begin(functools.partial(_shut, claimer, stopper))
                if scheduler is not None:
                    self._run_in_background(stack, scheduler.run(), "outlast scheduler")
                self._start_intakes(stack, store, link)
                try:
                    await self._work(stop, claimer.run())
                except asyncio.CancelledError:
                    self._grace_over.set()
                    raise
                finally:
                    pool.stopping()
                    if gates is not None:
                        gates.close()  # no claim follows: another worker need not wait for the lease of a probe
                    await self._drain(budget, stopper)
        finally:
            self._stopper = None
        if self._failed.done():
            self._failed.result()

    # Working

    def _pool(self) -> ProcessPool:
        tracing = self._runtime.tracing
        if tracing is not None and self._job_map is not None:
            tracing.own_process()  # after the hooks at the start: they may set a provider
        return ProcessPool(self._source, size=self._process_slots, tracing=tracing)

    def _gates(self, budget: Budget, link: StoreLink) -> Gates | None:
        """Return the gates of the queues that need guards; None when none does."""
        if not self._runtime.registry.needs():
            return None
        from outlast.worker.gates import gates_of

        return gates_of(self._runtime.registry, self.queues, budget, link)

    async def _start_background(
        self,
        stack: contextlib.AsyncExitStack,
        link: StoreLink,
        budget: Budget,
        *,
        pulse: Pulse,
        costs: CostKeeper | None,
    ) -> None:
        """Start the tasks that run until the last job is settled."""
        if costs is not None:
            stack.push_async_callback(costs.close)
            self._run_in_background(stack, costs.run(), "outlast costs")
        leases = link.store.broker.capabilities.leases
        gauges = WorkerGauges(budget, self._runtime.app_name)
        stack.callback(gauges.close)
        self._run_in_background(stack, gauges.run(), "outlast gauges")
        self._run_in_background(stack, pulse.run(), "outlast beat")
        if leases and self._job_map is None:
            await self._renew(stack, link)
        elif leases:
            self._run_in_background(stack, self._when_orphaned(stack, link), "outlast orphan watch")
        sweep = sweep_of(self._runtime, link)
        if sweep is not None:
            self._run_in_background(stack, sweep.run(), "outlast object sweep")
        if self._job_map is None or not leases:  # else the supervisor, which has the store open too, watches for all
            watch = ConsumerWatch(lambda: link.store.broker, self._runtime.clock, self._runtime.emit)
            self._run_in_background(stack, watch.run(), "outlast consumer watch")

    def _start_intakes(self, stack: contextlib.AsyncExitStack, store: Store, link: StoreLink) -> None:
        """Move what a server has routed to the queues into the store, where one routes events."""
        if store.inbox is not None:
            for intake in intakes_of(store.inbox, link, self.queues, self._runtime.emit_published):
                self._run_in_background(stack, intake.run(), "outlast intake")
                stack.push_async_callback(intake.close)

    async def _when_orphaned(self, stack: contextlib.AsyncExitStack, link: StoreLink) -> None:
        await self._orphaned.wait()
        await self._renew(stack, link)

    async def _renew(self, stack: contextlib.AsyncExitStack, link: StoreLink) -> None:
        lease = self._runtime.settings.lease
        if not link.store.broker.capabilities.shared:
            renewing = renew(lambda: link.store.broker, self.holder, lease=lease, lost=self.lose)
            self._run_in_background(stack, renewing, "outlast renewal")
            return
        renewal = ThreadRenewal(lambda: self._connect().broker, self.holder, lease=lease, lost=self.lose)
        renewal.start()
        stack.push_async_callback(renewal.stop)

    def _run_in_background(self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._background_ended)

        async def end() -> None:
            task.remove_done_callback(self._background_ended)
            await cancel(task)

        stack.push_async_callback(end)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        """Stop the worker when a task has ended that has to run until its end."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._inner_failed(error, task.get_name())

    async def _work(self, stop: asyncio.Event, claiming: Coroutine[Any, Any, None]) -> None:
        """Claim until `stop` is set, or until claiming or settling fails for good."""
        assert self._failed is not None
        claims = asyncio.get_running_loop().create_task(claiming, name="outlast claimer")
        claims.add_done_callback(self._background_ended)
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((claims, stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if self._torn is not None:  # at once: what is begun below would write to the store
                self._torn("the task of the worker was cancelled")
            raise
        finally:
            claims.remove_done_callback(self._background_ended)
            await cancel(claims, stopping)

    def _fail(self, error: Exception) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
            with contextlib.suppress(BaseException):
                _logger.error("the worker stops: %s", error)

    def _unsettled(self, error: BaseException) -> None:
        self._inner_failed(error, "outlast settler")
        self._grace_over.set()  # no run can be settled from now on: do not wait for any

    def _inner_failed(self, error: BaseException, name: str) -> None:
        """Stop because a task of the worker has ended.

        An error of Outlast's is a verdict on the store or the configuration, and no job's fault. For all else the code
        of a job may be the cause: it can cancel the task, raise SystemExit in it, or break the loop that runs it.
        """
        if isinstance(error, OutlastError):
            self._fail(error)
            if isinstance(error, StoreMoved):
                self._grace_over.set()  # the settlements of the runs have no place
            return
        why = f"the task {name!r} ended with {type(error).__name__}: the code of a job may have caused it"
        with contextlib.suppress(BaseException):  # a handler of the log is the app's
            _logger.error("%s", why, exc_info=error)
        if self._torn is not None:
            self._torn(why)
        self._fail(error if isinstance(error, Exception) else WorkerTorn(why))

    # Stopping

    async def _drain(self, budget: Budget, stopper: RunStopper) -> None:
        """Wait for the runs within the grace period, stop the rest, and settle them all."""
        self._drain_until = asyncio.get_running_loop().time() + self._runtime.settings.drain_grace
        stopper.release_waiting("the worker stopped")
        if not await ended_within(self._runtime.settings.drain_grace, budget.idle.wait(), self._grace_over.wait()):
            unended = sum(not run.ended for run in budget.runs)
            if unended:
                why = "without further wait" if self._grace_over.is_set() else "after the grace period"
                _logger.warning("released %s: %s", why, counted(unended, "job"))
            stopper.abort()
            if not await ended_within(_UNWIND, budget.idle.wait()) and stopper.abandon():
                await ended_within(_UNWIND, budget.idle.wait())

    async def _release_all(self, link: StoreLink, settler: Settler | Settlers, budget: Budget) -> None:
        """Forfeit the jobs that the store still counts as held here: of interrupted claims, and in threads.

        The grace is over, or no job is known to be held here: a store that does not answer at once is not waited for.
        """
        await settler.close()
        held = bool(budget.runs) or budget.thread.stuck > 0
        begun = [Release(fence, why="the worker stopped", begun=True) for fence in budget.detached]
        try:
            async with asyncio.timeout(_LAST_CALL if held else _LAST_CALL / 2):
                if begun:
                    await link.once(lambda store: store.broker.settle(begun))
                forfeited = await link.once(lambda store: store.broker.forfeit(self.holder, crashed=False))
        except (StoreError, TimeoutError) as error:
            if held:
                why = str(error) or "no answer"
                _logger.error("the jobs of this worker could not be released, its lease will lapse: %s", why)  # noqa: TRY400
        else:
            if released := len(begun) + forfeited:
                _logger.warning("%d unfinished jobs were released", released)

    def _connect(self) -> Store:
        settings = self._runtime.settings
        return connect(settings.url, clock=self._runtime.clock, max_body=settings.max_body)


def _shut(claimer: Claimer, stopper: RunStopper, queue: str, why: str) -> None:
    """End the claim that waits for jobs of a queue whose guard is open, and release those that have not begun."""
    claimer.cut()
    stopper.release_of(queue, why)
