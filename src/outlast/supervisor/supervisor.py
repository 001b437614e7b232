"""Keeps worker processes alive, their leases renewed and the jobs of the dead ones running; imports no user code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from random import Random
from typing import Final

from outlast.aio.children import named_directory
from outlast.aio.clock import SystemClock
from outlast.aio.tasks import cancel
from outlast.brokers import connect
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError, StoreError
from outlast.core.events import QueueUnattended
from outlast.core.exitcodes import CLEAN, CONFIG, CRASHING, STORE
from outlast.core.settlement import Reschedule
from outlast.core.store.store import Store
from outlast.supervisor.messages import WorkerConfig, WorkerHello
from outlast.supervisor.process import STALL_AFTER, ProcessExit, RecycleBounds, WorkerProcess, release_jobs_of
from outlast.supervisor.replica import StartedProcess, WorkerReplica
from outlast.worker.consumer_watch import ConsumerWatch
from outlast.worker.store_link import StoreLink

__all__ = ["Supervisor"]

_logger = logging.getLogger("outlast.supervisor")

_CHECK: Final = 0.25
_GIVE_UP: Final = 5
_RECYCLED: Final = 10.0
"""Seconds for which a place that was given to a fresh worker is left alone, lest one that is born too large spins."""
_RECYCLE_AGAIN: Final = 30.0
_MARGIN: Final = 10.0
_PATIENCE: Final = 10.0


class Supervisor:
    """Runs `processes` workers of one app until it is told to stop.

    It renews their leases, so that a handler which blocks its process loses nothing; kills a worker one of whose jobs
    is past its hard deadline; and when a worker dies, kills what it left behind and makes its jobs ready at once: those
    that had started count one crash, the others none. On `reload`, and for a worker that is outworn, a fresh one starts
    first, and the old one drains when that consumes. It gives up, with a code of `exitcodes`, when no worker has ever
    come up and the reason will not go away, or when they die again and again before they are ready.
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
    ) -> None:
        """Take the app's "module:attribute"; None leaves a bound to the app's settings.

        A worker is replaced when it has run `max_jobs` jobs or is `max_age` seconds old (up to a tenth less of either,
        so that not all are outworn at once), or holds `max_resident` bytes; it is killed when it runs nothing and has
        not moved for `stall_after` seconds. Raise ConfigurationError.
        """
        if processes < 1:
            raise ConfigurationError(f"processes={processes}: give 1 or more")
        self._config = WorkerConfig(
            target=target,
            holder="",
            slots_fd=-1,
            control_fd=-1,
            queues=None if queues is None else tuple(queues),
            concurrency=concurrency,
            threads=threads,
            isolated=isolated,
        )
        self._processes = processes
        self._bounds = RecycleBounds(max_jobs, max_age, max_resident)
        self._stall_after = stall_after
        self._directory = named_directory()
        self._clock: Clock = SystemClock()
        self._rng = Random()  # noqa: S311 - spreads retries, guards nothing
        self._live: set[WorkerProcess] = set()
        self._seats: list[WorkerReplica] = []
        self._reloading = False
        self._worn: dict[WorkerReplica, float] = {}
        self._wanted = asyncio.Event()
        self._lives: set[asyncio.Task[None]] = set()
        self._link: StoreLink | None = None
        self._linked = asyncio.Event()
        self._linking = asyncio.Lock()
        self._hello: WorkerHello | None = None
        self._came_up = False
        self._unready = 0
        self._code = CLEAN
        self._over = asyncio.Event()
        self._hurried = asyncio.Event()

    def serve(self) -> int:
        """Run in this process until SIGTERM or SIGINT; a second one cuts the grace, a third kills. Return the code."""

        async def work() -> int:
            stop = asyncio.Event()

            def on_signal() -> None:
                if not stop.is_set():
                    _logger.info("stopping: the workers finish what they run; a second signal cuts that short")
                    stop.set()
                elif not self._hurried.is_set():
                    self.hurry()
                else:
                    self._kill_all()

            loop = asyncio.get_running_loop()
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(name, on_signal)
            at_terminal = sys.stdin is not None and sys.stdin.isatty()
            # A terminal that was closed sends the same signal: then nobody is there to stop us later.
            loop.add_signal_handler(
                signal.SIGHUP, lambda: on_signal() if at_terminal and not sys.stdin.isatty() else self.reload()
            )
            return await self.run(stop)

        return asyncio.run(work())

    def reload(self) -> None:
        """Replace the workers one after the other by fresh ones, which import the app anew. Called on the loop.

        The first that does not come up ends it: what has not been replaced yet stays, and the log says so. Asked for
        again while it is under way, it begins anew.
        """
        self._reloading = True
        self._wanted.set()

    def hurry(self) -> None:
        """End the grace of a stop now."""
        self._hurried.set()
        for life in self._live:
            life.halt(hurry=True)

    @property
    def pids(self) -> list[int]:
        """The worker processes that live."""
        return [life.child.pid for life in self._live]

    def over(self) -> bool:
        """Whether it is stopping."""
        return self._over.is_set()

    async def run(self, stop: asyncio.Event) -> int:
        """Work until `stop` is set or nothing can be done; return an exit code of `exitcodes`."""
        loop = asyncio.get_running_loop()
        self._seats = [WorkerReplica(self) for _ in range(self._processes)]
        work = (self._renewals(), self._checks(), self._changes(), self._attend())
        beside = [loop.create_task(each) for each in work]
        seats = [loop.create_task(seat.run()) for seat in self._seats]
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait((*waits, *seats), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._over.set()
            await cancel(*waits)
            await cancel(*seats)
            await self._stop()
            await cancel(*beside)
            if self._link is not None:
                with contextlib.suppress(StoreError):
                    await self._link.store.broker.close()
        for seat in seats:
            if not seat.cancelled():
                seat.result()  # a fault of the supervisor's own
        return self._code

    # Workers

    def begin(self) -> StartedProcess:
        """Start a worker process; raise OSError."""
        process = WorkerProcess(self._config, self._clock, self._rng, self._directory)
        self._live.add(process)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[ProcessExit] = loop.create_future()
        task = loop.create_task(self._live_and_bury(process, ended))
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)
        return StartedProcess(process, ended)

    async def _live_and_bury(self, life: WorkerProcess, ended: asyncio.Future[ProcessExit]) -> None:
        greeting = asyncio.get_running_loop().create_task(self._greet(life))
        try:
            death = await life.live()
        finally:
            await cancel(greeting)
            self._live.discard(life)
        ended.set_result(death)
        if self._link is not None:
            await _bury(self._link, death, self._clock)

    async def _greet(self, life: WorkerProcess) -> None:
        hello = await life.hello
        if self._hello is not None and hello.url != self._hello.url:
            _logger.error("the app has another store now, and one supervisor serves one store: restart the service")
            life.kill("forced")
            return
        self._hello = hello
        async with self._linking:
            if self._link is None:
                link = StoreLink(self._connect(), self._clock, self._rng, reconnect=self._connect, patience=_PATIENCE)
                await link.insist("open", lambda store: store.broker.open())
                self._link = link
                self._linked.set()

    def _connect(self) -> Store:
        assert self._hello is not None
        return connect(self._hello.url, clock=self._clock, max_body=self._hello.max_body)

    def hopeless(self, death: ProcessExit) -> bool:
        """Tell whether to give up; set the code and end everything if so."""
        if death.ready:
            self._came_up = True
            self._unready = 0
            return False
        self._unready += 1
        if not self._came_up and death.code in (CONFIG, STORE):
            self._code = death.code
        elif self._unready >= _GIVE_UP * self._processes and not any(life.ready for life in self._live):
            _logger.error("worker processes died %d times before they were ready: giving up", self._unready)
            self._code = CRASHING
        else:
            return False
        self._over.set()
        return True

    # Beside them

    async def _renewals(self) -> None:
        """Extend every worker's lease three times within its length."""
        while True:
            if self._link is not None:
                await asyncio.gather(*(self._renew(self._link, life) for life in list(self._live)))
            await asyncio.sleep(1.0 if self._hello is None else self._hello.lease / 3)

    async def _renew(self, link: StoreLink, life: WorkerProcess) -> None:
        if not life.hello.done() or self._hello is None:
            return
        lease = self._hello.lease
        try:
            life.tell_lost(await link.once(lambda store: store.broker.extend(life.holder, lease=lease)))
        except StoreError as error:
            _logger.warning("the lease of worker %d could not be renewed: %s", life.child.pid, error)

    async def _checks(self) -> None:
        while True:
            now = self._clock.monotonic()
            for life in list(self._live):
                life.check(now, self._stall_after)
                self._came_up = self._came_up or life.ready
                if life.halted and now - life.halted > self._grace(life):
                    _logger.error("worker %d has not left within its grace and is killed", life.child.pid)
                    life.kill("forced")
            if any(self._worn_out(seat, now) for seat in self._seats):
                self._wanted.set()
            await asyncio.sleep(_CHECK)

    def _grace(self, life: WorkerProcess) -> float:
        """Return the seconds that a worker has to leave after it was told to."""
        told = life.greeting or self._hello
        return _MARGIN + (told.drain_grace if told is not None else 0.0)

    def _worn_out(self, seat: WorkerReplica, now: float) -> str:
        """Return why the seat's worker should be replaced, "" when it need not, or could not a moment ago."""
        if seat.life is None or self._worn.get(seat, 0.0) > now:
            return ""
        return seat.life.process.outworn(now, self._bounds)

    # Changing them

    async def _changes(self) -> None:
        """Make the changes that are wanted, one worker at a time: never more than one beyond `processes` starts up."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._reloading:
                self._reloading = False
                await self._reload()
            for seat in self._seats:
                if why := self._worn_out(seat, self._clock.monotonic()):
                    await self._recycle(seat, why)

    async def _reload(self) -> None:
        _logger.info("reloading: %d workers are replaced by fresh ones, one after the other", len(self._seats))
        for done, seat in enumerate(self._seats):
            if why := await seat.change():
                _logger.error(
                    "the reload has failed, a fresh worker did not come up (%s): %d of %d workers are new, the others "
                    "go on as they were; mend it and send SIGHUP again",
                    why,
                    done,
                    len(self._seats),
                )
                return
            if self._reloading:
                _logger.info("reloading: asked again, so it begins anew")
                return
        _logger.info("reloaded: %d workers are new", len(self._seats))

    async def _recycle(self, seat: WorkerReplica, why: str) -> None:
        pid = seat.life.process.child.pid if seat.life is not None else 0
        _logger.info("worker %d is replaced after %s", pid, why)
        failed = await seat.change()
        if failed:
            _logger.error("a fresh worker did not come up (%s): worker %d stays for now", failed, pid)
        self._worn[seat] = self._clock.monotonic() + (_RECYCLE_AGAIN if failed else _RECYCLED)

    async def _attend(self) -> None:
        await self._linked.wait()
        link = self._link
        assert link is not None
        await ConsumerWatch(lambda: link.store.broker, self._clock, self._alarm).run()

    def _alarm(self, event: QueueUnattended) -> None:
        """Tell the app's observers, in one worker: here there are none."""
        for life in self._live:
            if life.ready:
                life.tell_alarm(event)
                return

    # Stopping

    async def _stop(self) -> None:
        """Let the workers drain, kill those that do not leave in time, and bury them all."""
        for life in self._live:
            life.halt(hurry=self._hurried.is_set())
        grace = self._hello.drain_grace if self._hello is not None else 0.0
        if not await self._gone_within(grace + _MARGIN):
            self._kill_all()
            await self._gone_within(_MARGIN)
        await cancel(*self._lives)

    async def _gone_within(self, seconds: float) -> bool:
        """Wait for every worker to be dead and buried; `hurry` leaves them only the margin."""
        lives = list(self._lives)
        if not lives:
            return True
        gone = asyncio.ensure_future(asyncio.wait(lives))
        hurried = asyncio.ensure_future(self._hurried.wait())
        try:
            await asyncio.wait((gone, hurried), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if hurried.done() and not gone.done():
                await asyncio.wait((gone,), timeout=_MARGIN)
            return gone.done()
        finally:
            await cancel(gone, hurried)

    def _kill_all(self) -> None:
        for life in self._live:
            life.kill("forced")


async def _bury(link: StoreLink, death: ProcessExit, clock: Clock) -> None:
    """Make a dead worker's jobs ready: the blamed with one crash more, then whatever else it held."""
    blamed: Sequence[Reschedule] = release_jobs_of(death, clock.time())

    async def hand_back(store: Store) -> int:
        if blamed:
            await store.broker.settle(blamed)
        return await store.broker.forfeit(death.holder, crashed=False)

    left = await link.insist("forfeit", hand_back)
    if blamed or left:
        _logger.warning(
            "%d jobs of a dead worker run again; a crash is counted for %d", left + len(blamed), len(blamed)
        )
