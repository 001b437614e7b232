"""One worker in one event loop: claims, runs, settles, renews its lease, and stops without losing a job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from outlast.aio.tasks import cancel, ended_within
from outlast.brokers.registry import connect
from outlast.core.errors import ConfigurationError, StoreError, StoreMoved, StoreUnavailable
from outlast.core.events import Event, WorkerStalled
from outlast.core.message import Holder
from outlast.core.settlement import Lost
from outlast.core.store.store import Store
from outlast.worker.budget import Budget
from outlast.worker.claimer import Claimer
from outlast.worker.consumer_watch import ConsumerWatch
from outlast.worker.executor import Executor
from outlast.worker.isolation.pool import ProcessPool
from outlast.worker.job_map import SharedJobMap
from outlast.worker.notes import NoteKeeper
from outlast.worker.ports import RuntimePort
from outlast.worker.renewal import ThreadRenewal, renew
from outlast.worker.report import Reporter
from outlast.worker.settler import Settler, Settlers
from outlast.worker.stopper import RunStopper
from outlast.worker.store_link import StoreLink
from outlast.worker.target import find_target

if TYPE_CHECKING:
    from outlast.scheduler.loop import Scheduler

__all__ = ["STALL_PATIENCE", "Worker", "new_holder"]

_logger = logging.getLogger("outlast.worker")

STALL_PATIENCE: Final = 30.0
"""Seconds that a call to the store may take in addition to its wait; after that it counts as hung."""
_UNWIND: Final = 2.0
"""Seconds that a cancelled handler has for its clean-up when the worker stops."""
_BEAT: Final = 1.0


def new_holder() -> Holder:
    """Return a new holder for this process."""
    return Holder(uuid4().hex, f"{socket.gethostname()}:{os.getpid()}")


class Worker:
    """Runs the jobs of some queues until it is stopped.

    Without a `job_map` it has no supervisor: a thread renews its lease, which helps against a handler that blocks the
    event loop, but not against one that holds the GIL. With a `job_map` its supervisor renews the lease and reports
    lost jobs to `lose`. When the supervisor has ended, call `orphaned`: it then renews its lease itself.
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
        stall_patience: float = STALL_PATIENCE,
    ) -> None:
        """Make a worker of all declared queues, or of some. Raise ConfigurationError for a queue that is not declared.

        target: "module:attribute" of the app, for child processes; None to find it in the imported modules.
        """
        settings = runtime.settings
        declared = runtime.registry.queues
        unknown = [name for name in queues or () if name not in declared]
        if unknown:
            known = ", ".join(sorted(declared)) or "none"
            raise ConfigurationError(f"queue {unknown[0]!r} is not declared by this app (declared: {known})")
        self.holder: Final = holder or new_holder()
        self._runtime = runtime
        self._queues = tuple(queues or declared)
        self._concurrency = settings.concurrency if concurrency is None else concurrency
        self._thread_slots = settings.threads if threads is None else threads
        self._process_slots = settings.processes if processes is None else processes
        self._job_map = job_map
        self._patience = stall_patience
        self._target = self._find(target)
        self._grace_over = asyncio.Event()
        self._orphaned = asyncio.Event()
        self._failed: asyncio.Future[None] | None = None
        self._stopper: RunStopper | None = None

    def _find(self, target: str | None) -> tuple[str | None, str | None]:
        if target is not None:
            return target, None
        found = find_target(self._runtime.registry)
        isolated = [each.kind for each in self._runtime.registry.declarations.values() if each.mode == "process"]
        if found is None and isolated:
            raise ConfigurationError(
                f"job {isolated[0]!r} has isolate='process', and its child must import the app: keep the Outlast(...) "
                "at the top level of a module, or start the worker with a target such as 'main:shop'"
            )
        return found or (None, None)

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
        """Stop the runs that were superseded or cancelled."""
        if self._stopper is not None:
            self._stopper.lost(losses)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then let runs end for `drain_grace` seconds and release the rest with its attempts.

        Jobs in threads that still run are released too: end the process soon. Raise StoreError when the store cannot be
        opened or used, StoreStalled when it does not answer. A cancellation of the call stops without a grace period.
        """
        store = self._runtime.store
        await store.broker.open()
        await store.declare(self._runtime.registry)
        reconnect = self._connect if store.broker.capabilities.shared else None
        link = StoreLink(store, self._runtime.clock, self._runtime.rng, reconnect=reconnect, patience=self._patience)
        link.on_stall = lambda seconds: self._runtime.emit(WorkerStalled(self.holder.id, seconds))
        scheduler = await self._scheduler(link)
        self._failed = asyncio.get_running_loop().create_future()
        pool = ProcessPool(self._target[0], size=self._process_slots, main=self._target[1])
        notes = NoteKeeper(link, self.lose)
        report = Reporter(self._runtime)
        budget = Budget(
            self._runtime,
            concurrency=self._concurrency,
            threads=self._thread_slots,
            processes=self._process_slots,
            job_map=self._job_map,
        )

        def make_settler(queue: str = "") -> Settler:
            return Settler(link, budget, report, broken=self._unsettled, queue=queue)

        settler = Settlers(make_settler) if store.broker.capabilities.spread else make_settler()
        executor = Executor(self._runtime, budget, report, settle=settler.add, noted=notes.noted, pool=pool)
        stopper = self._stopper = executor.stopper
        lease = self._runtime.settings.lease
        claimer = Claimer(link, budget, executor.accept, queues=self._queues, holder=self.holder, lease=lease)
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(link.close)
                stack.callback(executor.close)
                stack.push_async_callback(notes.close)
                stack.push_async_callback(self._release_all, link, settler)
                stack.push_async_callback(pool.close)
                await self._start_background(stack, link, budget)
                if scheduler is not None:
                    self._run_in_background(stack, scheduler.run())
                try:
                    await self._work(stop, claimer.run())
                except asyncio.CancelledError:
                    self._grace_over.set()
                    raise
                finally:
                    pool.stopping()
                    await self._drain(budget, stopper)
        finally:
            self._stopper = None
        if self._failed.done():
            self._failed.result()

    # Working

    async def _start_background(self, stack: contextlib.AsyncExitStack, link: StoreLink, budget: Budget) -> None:
        """Start the tasks that run until the last job is settled."""
        if self._job_map is None:
            await self._renew(stack, link)
            watch = ConsumerWatch(lambda: link.store.broker, self._runtime.clock, self._runtime.emit)
            self._run_in_background(stack, watch.run())
        else:
            self._run_in_background(stack, self._beat(self._job_map, budget))
            self._run_in_background(stack, self._when_orphaned(stack, link))

    async def _scheduler(self, link: StoreLink) -> Scheduler | None:
        """Return the scheduler, its schedules declared; None when neither the code nor the store has one of the app."""
        runtime = self._runtime
        try:
            if not runtime.registry.schedules:
                if not link.store.keeps_schedules():
                    return None
                kept = await link.once(lambda store: store.schedules.schedules())
                if all(record.app != runtime.registry.app for record in kept):
                    return None  # else a schedule that the code no longer has causes an alarm
            scheduler = self._make_scheduler(link)
            await scheduler.declare()
        except StoreUnavailable:
            if not link.store.broker.capabilities.spread:
                raise
            return self._make_scheduler(link)  # their server is away: they are declared later
        return scheduler

    def _make_scheduler(self, link: StoreLink) -> Scheduler:
        runtime = self._runtime
        from outlast.scheduler.loop import Scheduler

        return Scheduler(
            link, runtime.registry, runtime.message, clock=runtime.clock, rng=runtime.rng, emit=runtime.emit
        )

    async def _when_orphaned(self, stack: contextlib.AsyncExitStack, link: StoreLink) -> None:
        await self._orphaned.wait()
        await self._renew(stack, link)

    async def _renew(self, stack: contextlib.AsyncExitStack, link: StoreLink) -> None:
        lease = self._runtime.settings.lease
        if not link.store.broker.capabilities.shared:
            self._run_in_background(stack, renew(lambda: link.store.broker, self.holder, lease=lease, lost=self.lose))
            return
        renewal = ThreadRenewal(lambda: self._connect().broker, self.holder, lease=lease, lost=self.lose)
        renewal.start()
        stack.push_async_callback(renewal.stop)

    def _run_in_background(self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        stack.push_async_callback(_end_task, task)

    async def _beat(self, job_map: SharedJobMap, budget: Budget) -> None:
        while True:
            job_map.beat(self._runtime.clock.monotonic(), budget.finished, ready=True)
            await asyncio.sleep(_BEAT)

    async def _work(self, stop: asyncio.Event, claiming: Coroutine[Any, Any, None]) -> None:
        """Claim until `stop` is set, or until claiming or settling fails for good."""
        assert self._failed is not None
        claims = asyncio.get_running_loop().create_task(claiming, name="outlast claimer")
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((claims, stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended, _ = await cancel(claims, stopping)
        if isinstance(ended, StoreMoved):
            self._unsettled(ended)  # the settlements of the runs have no place either
        elif isinstance(ended, Exception):
            self._fail(ended)

    def _fail(self, error: Exception) -> None:
        if self._failed is not None and not self._failed.done():
            _logger.error("the worker stops: %s", error)
            self._failed.set_exception(error)

    def _unsettled(self, error: Exception) -> None:
        self._fail(error)
        self._grace_over.set()  # no run can be settled from now on: do not wait for any

    # Stopping

    async def _drain(self, budget: Budget, stopper: RunStopper) -> None:
        """Wait for the runs within the grace period, stop the rest, and settle them all."""
        stopper.release_waiting("the worker stopped")
        if not await ended_within(self._runtime.settings.drain_grace, budget.idle.wait(), self._grace_over.wait()):
            _logger.warning("%d jobs did not end within the grace period and are released", len(budget.runs))
            stopper.abort()
            if not await ended_within(_UNWIND, budget.idle.wait()):
                stopper.abandon()
                await ended_within(_UNWIND, budget.idle.wait())

    async def _release_all(self, link: StoreLink, settler: Settler | Settlers) -> None:
        """Forfeit the jobs that the store still counts as held here: of interrupted claims, and in threads."""
        await settler.close()
        try:
            released = await link.once(lambda store: store.broker.forfeit(self.holder, crashed=False))
        except StoreError as error:
            _logger.error("the jobs of this worker could not be released, its lease will lapse: %s", error)  # noqa: TRY400
        else:
            if released:
                _logger.warning("%d unfinished jobs were released", released)

    def _connect(self) -> Store:
        settings = self._runtime.settings
        return connect(settings.url, clock=self._runtime.clock, max_body=settings.max_body)


async def _end_task(task: asyncio.Task[None]) -> None:
    (ended,) = await cancel(task)
    if isinstance(ended, Exception):
        _logger.error("a background task of the worker failed", exc_info=ended)
