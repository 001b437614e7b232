"""Keeps worker processes alive, renews their leases and releases the jobs of dead ones; imports no user code."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import Sequence
from random import Random
from typing import Final

from outlast.aio.children import adopts, named_directory, reap_adopted
from outlast.aio.clock import SystemClock
from outlast.aio.exits import closed_within, exit_within
from outlast.aio.signals import on_signals
from outlast.aio.tasks import cancel, ended_within
from outlast.brokers.registry import connect
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreError, StoreMoved
from outlast.core.events import QueueUnattended
from outlast.core.exitcodes import CLEAN, CONFIG, CRASHING, STORE
from outlast.core.listen import address_of
from outlast.core.store.broker import Broker
from outlast.core.store.store import Store
from outlast.core.text import counted
from outlast.meters import meters
from outlast.meters.metric import Reading
from outlast.observe.aggregate import ProcessReadings
from outlast.observe.health.judge import PATIENCE
from outlast.observe.health.views import ServiceView
from outlast.observe.history import HistoryKeeper
from outlast.supervisor.blame import LAST_CALL, died_in_words, release_within, tell_requeued
from outlast.supervisor.health import SupervisorHealth
from outlast.supervisor.links import counts_of, open_link, still_in_place, tell_failure
from outlast.supervisor.messages import WorkerConfig, WorkerHello
from outlast.supervisor.metrics_page import MetricsOfService
from outlast.supervisor.process import STALL_AFTER, ProcessExit, RecycleBounds, WorkerProcess
from outlast.supervisor.process_metrics import count_exit, show_hows
from outlast.supervisor.replacements import Replacements
from outlast.supervisor.replica import WorkerReplica
from outlast.worker.consumer_watch import ConsumerWatch
from outlast.worker.store_link import RENEWAL, StoreLink

__all__ = ["Supervisor"]

_logger = logging.getLogger("outlast.supervisor")

_CHECK: Final = 0.25
_GIVE_UP: Final = 5
_MARGIN: Final = 10.0


class Supervisor:
    """Runs `processes` workers of one app until it is stopped.

    It renews their leases, so that a handler that blocks its process loses no job; where the connection of a worker
    holds its jobs (`Capabilities.leases`), it opens no store. It kills a worker with a job past
    its hard deadline. When a worker dies, it kills the other processes of its session and releases its jobs: those that
    had started count one crash, the others none. On `reload`, and for a worker past its bounds, a new one starts first;
    the old one drains when the new one consumes. The supervisor gives up, with a code of `exitcodes`, when no worker
    has ever come up and a retry cannot help, or when workers die again and again before they are ready.
    """

    def __init__(
        self,
        target: str,
        *,
        processes: int = 1,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        threads: int | None = None,
        isolated: int | None = None,
        max_jobs: int | None = None,
        max_age: float | None = None,
        max_resident: int | None = None,
        stall_after: float = STALL_AFTER,
        frozen_after: float = PATIENCE,
        listen: str | None = None,
        health_socket: str | None = None,
    ) -> None:
        """Take the app's "module:attribute"; None leaves a bound to the app's settings.

        A worker is replaced after `max_jobs` jobs or at the age of `max_age` seconds (up to a tenth less of either, so
        that not all are replaced at once), or above `max_resident` bytes. It is killed when it has no running job and
        its event loop has not run for `stall_after` seconds. When no claim of a worker has come back for `frozen_after`
        seconds although one should have, the service reports itself unhealthy. listen: the address of its probes over
        HTTP, such as "127.0.0.1:9464"; None for that of the app's settings. health_socket: the path that `outlast
        health` asks; None for one that it finds. Raise ConfigurationError.
        """
        if processes < 1:
            raise ConfigurationError(f"processes={processes}: give 1 or more")
        self._config = WorkerConfig(
            target=target,
            holder="",
            map_fd=-1,
            control_fd=-1,
            supervisor=0,
            queues=None if queues is None else tuple(queues),
            concurrency=concurrency,
            threads=threads,
            isolated=isolated,
        )
        self._size = processes
        self._replacements = Replacements(RecycleBounds(max_jobs, max_age, max_resident), SystemClock())
        self._stall_after = stall_after
        self._directory = named_directory()
        self._clock: Clock = SystemClock()
        self._rng = Random()  # noqa: S311 - spreads retries, guards nothing
        self._processes: set[WorkerProcess] = set()
        self._readings = ProcessReadings(meters.read)
        self._replicas: list[WorkerReplica] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._link: StoreLink | None = None
        self._links: dict[WorkerProcess, StoreLink] = {}
        """By process: after a change of the file, the fences of an old worker mean nothing in the new one."""
        self._metrics = MetricsOfService(self.readings, lambda: self._hello, lambda: self._link, self._connect)
        self._history = HistoryKeeper(
            lambda: self._link,
            self._clock,
            self._rng,
            sample=self._metrics.sampler.stats,
            totals=self._metrics.sampler.totals,
        )
        self._linked = asyncio.Event()
        self._linking = asyncio.Lock()
        self._hello: WorkerHello | None = None
        self._came_up = False
        self._consumed: dict[str, float] = {}
        """When (monotonic) a worker of this supervisor last consumed a queue."""
        self._unready = 0
        self._finished = 0
        self._code = CLEAN
        self._over = asyncio.Event()
        self._grace_over = asyncio.Event()
        self._killing = False
        self._reaps = False
        self._closed = True
        self.health = SupervisorHealth(
            self._seen,
            counts_of(lambda: self._link),
            self._app,
            self._clock,
            processes=processes,
            patience=frozen_after,
            listen=listen,
            socket_path=health_socket,
        )
        self.health.pages["/metrics"] = self._metrics.page

    def serve(self) -> int:
        """Run until SIGTERM or SIGINT; a second one ends the grace period, a third kills. Return the exit code.

        As PID 1, or as a subreaper, it also reaps the processes that jobs leave behind.
        """

        async def work() -> int:
            stop = asyncio.Event()

            def on_signal() -> None:
                if not stop.is_set():
                    _logger.info("stopping: running jobs have a grace period, which a second signal ends")
                    stop.set()
                elif not self._grace_over.is_set():
                    _logger.info("stopping now: the grace period is over, and a third signal kills the workers")
                    self.end_grace()
                elif not self._killing:
                    self._killing = True
                    _logger.warning("the workers are killed at the third signal")
                    self._kill_all()

            at_terminal = sys.stdin is not None and sys.stdin.isatty()

            def on_hangup() -> None:
                # A closed terminal sends the same signal: then no operator can stop this process later.
                on_signal() if at_terminal and not sys.stdin.isatty() else self.reload()

            self._reaps = adopts()
            with on_signals({signal.SIGTERM: on_signal, signal.SIGINT: on_signal, signal.SIGHUP: on_hangup}):
                code = await self.run(stop)
            if not self._closed:
                exit_within(LAST_CALL / 4, code)
            return code

        return asyncio.run(work())

    def reload(self) -> None:
        """Replace the workers one after the other by new ones, which import the app again. Call it on the event loop.

        The first new worker that does not come up ends the reload: the others stay, and the log says so. Another call
        during the reload restarts it.
        """
        self._replacements.reload()
        mark = asyncio.get_running_loop().create_task(self._history.mark("workers reloaded"))
        self._tasks.add(mark)
        mark.add_done_callback(self._tasks.discard)

    def end_grace(self) -> None:
        """End the grace period of a stop now."""
        self._grace_over.set()
        for process in self._processes:
            process.stop(end_grace=True)

    @property
    def pids(self) -> list[int]:
        """The pids of the living worker processes."""
        return [process.child.pid for process in self._processes]

    @property
    def app(self) -> WorkerHello | None:
        """What the last worker that came up has told of its app; None before."""
        return self._hello

    def readings(self) -> list[Reading]:
        """Return the metrics of this process and all its workers; of those that have ended all but the gauges."""
        return self._readings.read()

    def over(self) -> bool:
        """Whether it is stopping."""
        return self._over.is_set()

    async def run(self, stop: asyncio.Event) -> int:
        """Work until `stop` is set or the supervisor gives up; return an exit code of `exitcodes`.

        Raise an error of the supervisor itself, after a stop: without one of its tasks it would not keep its promises.
        """
        loop = asyncio.get_running_loop()
        self._replicas = [WorkerReplica(self) for _ in range(self._size)]
        work = (
            self._renewals(),
            self._checks(),
            self._replacements.run(self._replicas),
            self._watch_consumers(),
            self.health.run(),
            self._keep_history(),
        )
        beside = [loop.create_task(each) for each in work]
        running = [loop.create_task(replica.run()) for replica in self._replicas]
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait((*waits, *running, *beside), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._over.set()
            await cancel(*waits)
            await cancel(*running)
            await self._stop()
            await cancel(*beside)
            await self._metrics.close()
            if self._hello is not None:
                _logger.info("stopped: %s of jobs ended", counted(self._finished, "run"))
            if self._link is not None:
                await self._history.mark("workers stopped", f"{counted(self._finished, 'run')} of jobs ended")
                with contextlib.suppress(StoreError):
                    self._closed = await closed_within(LAST_CALL / 2, self._link.store.broker.close())
        for task in (*running, *beside):
            if not task.cancelled():
                task.result()  # raises an error of the supervisor itself
        return self._code

    # Workers

    def start_process(self) -> WorkerProcess:
        """Start a worker process; raise OSError."""
        process = WorkerProcess(self._config, self._clock, self._rng, self._directory)
        self._processes.add(process)
        self._readings.started(process.meters)
        task = asyncio.get_running_loop().create_task(self._run_process(process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        failed = f"the jobs of worker {process.child.pid} are not released, their lease will lapse"
        task.add_done_callback(functools.partial(tell_failure, failed))
        return process

    async def _run_process(self, process: WorkerProcess) -> None:
        """Serve a worker process until it has ended and its jobs are released."""
        greeting = asyncio.get_running_loop().create_task(self._greet(process))
        failed = (
            f"the supervisor has no connection to the store and does not renew the lease of worker {process.child.pid}"
        )
        greeting.add_done_callback(functools.partial(tell_failure, failed))
        try:
            ended = await process.run()
        finally:
            self._readings.ended(process.meters)
            await cancel(greeting)
            self._processes.discard(process)
        process.ended.set_result(ended)
        count_exit(self._app() or "unknown", ended, stopping=self._over.is_set())
        self._finished += ended.finished
        link = self._links.pop(process, self._link)
        if link is not None:
            await release_within(link, ended, self._clock, self._over)
            if not ended.left and ended.killed_for != "forced":  # what a stop kills has not died
                await self._history.mark("worker died", died_in_words(ended))
        elif process.settings is not None and not process.settings.leases:
            await tell_requeued(ended, self._clock)

    async def _greet(self, process: WorkerProcess) -> None:
        hello = await process.hello
        if self._hello is not None and hello.url != self._hello.url:
            _logger.error("the app's url has changed, and one supervisor serves one store: restart the service")
            process.kill("forced")
            return
        if self._hello is None:
            _logger.info("running: %s", hello.about)
            show_hows(hello.app)
        self._hello = hello
        if (address := address_of(hello.listen)) is not None:
            self.health.listen(address)
        if not hello.leases:
            return  # the end of the worker's own connection makes its jobs ready again
        async with self._linking:
            # One link for all workers, and another one for those that start after the file was moved or replaced.
            if self._link is None or not await still_in_place(self._link):
                self._link = await open_link(self._connect, self._clock, self._rng)
            self._links[process] = self._link
            self._linked.set()

    def _connect(self) -> Store:
        assert self._hello is not None
        return connect(self._hello.url, clock=self._clock, max_body=self._hello.max_body)

    def gives_up(self, ended: ProcessExit) -> bool:
        """Return whether to give up after this end; if so, set the exit code and stop."""
        if ended.ready:
            self._came_up = True
            self._unready = 0
            return False
        self._unready += 1
        if not self._came_up and ended.code in (CONFIG, STORE):
            self._code = ended.code
        elif self._unready >= _GIVE_UP * self._size and not any(process.ready for process in self._processes):
            _logger.error("worker processes died %d times before they were ready: giving up", self._unready)
            self._code = CRASHING
        else:
            return False
        self._over.set()
        return True

    # What is seen of it

    def _app(self) -> str:
        return "" if self._hello is None else self._hello.app

    def _seen(self) -> ServiceView:
        now = self._clock.monotonic()
        living = [each for each in self._processes if not each.child.dead.is_set()]
        return ServiceView(
            workers=tuple(each.view(now) for each in living), stopping=self._over.is_set(), came_up=self._came_up
        )

    # Background tasks

    async def _renewals(self) -> None:
        """Extend every worker's lease three times within its length, from the first hello on."""
        await self._linked.wait()
        while True:
            assert self._hello is not None  # without it there is no link
            lease = self._hello.lease
            await asyncio.gather(*(self._renew(link, process, lease) for process, link in list(self._links.items())))
            await asyncio.sleep(lease / 3)

    async def _renew(self, link: StoreLink, process: WorkerProcess, lease: float) -> None:
        try:
            extend = link.once(lambda store: store.broker.extend(process.holder, lease=lease), what=RENEWAL)
            process.send_losses(await extend)
        except StoreMoved:
            return  # the worker finds out too, and stops
        except StoreError as error:
            link.tell(RENEWAL, error)
        except Exception:  # of whatever kind: the jobs of all workers would run elsewhere too
            _logger.exception("the lease of worker %d could not be renewed", process.child.pid)

    async def _checks(self) -> None:
        while True:
            now = self._clock.monotonic()
            for process in list(self._processes):
                process.check(now, self._stall_after)
                self._came_up = self._came_up or process.ready
                if process.ready and process.settings is not None:
                    self._consumed |= dict.fromkeys(process.settings.queues, now)
                late = process.stopping_since and now - process.stopping_since > self._grace(process)
                if late and not process.killed:
                    _logger.error("worker %d has not ended within its grace period and is killed", process.child.pid)
                    process.kill("forced")
            self._replacements.check(self._replicas, now)
            if self._reaps:
                reap_adopted({process.child.pid for process in self._processes})
            await asyncio.sleep(_CHECK)

    def _grace(self, process: WorkerProcess) -> float:
        """Return the seconds that a stopping worker has until it is killed."""
        settings = process.settings or self._hello
        return _MARGIN + (settings.drain_grace if settings is not None else 0.0)

    async def _keep_history(self) -> None:
        await self._linked.wait()
        assert self._hello is not None  # without it there is no link
        await self._history.run(f"{counted(self._size, 'process')} for queues {', '.join(self._hello.queues)}")

    async def _watch_consumers(self) -> None:
        await self._linked.wait()
        await ConsumerWatch(self._broker, self._clock, self._alarm, consumed=lambda: self._consumed).run()

    def _broker(self) -> Broker:
        assert self._link is not None
        return self._link.store.broker

    def _alarm(self, event: QueueUnattended) -> None:
        """Send the event to the app's observers, in one worker process."""
        for process in self._processes:
            if process.ready:
                process.send_alarm(event)
                return

    # Stopping

    async def _stop(self) -> None:
        """Drain the workers, kill those that do not end in time, and release the jobs of all."""
        for process in self._processes:
            process.stop(end_grace=self._grace_over.is_set())
            if process.settings is None:  # it has not begun to work, and may import for long
                process.kill("forced")
        if not await self._gone_within(max(map(self._grace, self._processes), default=_MARGIN)):
            if not self._killing:
                _logger.error("the workers that have not ended within their grace period are killed")
            self._kill_all()
            await self._gone_within(_MARGIN)
        await cancel(*self._tasks)

    async def _gone_within(self, seconds: float) -> bool:
        """Wait until every worker has ended and its jobs are released; `end_grace` reduces the time to the margin."""
        tasks = list(self._tasks)
        if not tasks or await ended_within(seconds, asyncio.wait(tasks), self._grace_over.wait()):
            return True
        return self._grace_over.is_set() and await ended_within(_MARGIN, asyncio.wait(tasks))

    def _kill_all(self) -> None:
        for process in self._processes:
            process.kill("forced")
