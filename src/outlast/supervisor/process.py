"""One worker process as its supervisor controls it, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from random import Random
from typing import Final, Literal
from uuid import uuid4

import msgspec

from outlast.aio.children import Child, kill_session, resident_bytes
from outlast.aio.frames import pack, read_frame
from outlast.aio.tasks import cancel, ended_within
from outlast.core.clock import Clock
from outlast.core.events import QueueUnattended
from outlast.core.message import Fence, Holder
from outlast.core.settlement import Lost
from outlast.core.text import counted
from outlast.meters.memory import MemoryReader, create_shared
from outlast.observe.health.views import WorkerView
from outlast.supervisor.messages import (
    Losses,
    QueueAlarm,
    StopWorker,
    SupervisorMessage,
    WorkerConfig,
    WorkerHello,
    encode,
)
from outlast.worker.claim_signs import named
from outlast.worker.job_map import ENDED, STARTED, JobEntry, SharedJobMap

__all__ = ["COME_UP", "STALL_AFTER", "RecycleBounds", "ProcessExit", "WorkerProcess"]

_logger = logging.getLogger("outlast.supervisor")

STALL_AFTER: Final = 30.0
"""Seconds without a beat after which a worker that runs nothing counts as stalled."""
COME_UP: Final = 120.0
"""Seconds that a new worker has until it consumes; after that it is killed, and the old one stays."""

_LEAST_SILENCE: Final = 3.0
"""Seconds without a beat that say nothing yet, however short the lease: there is one a second."""

KillReason = Literal["", "overdue", "stalled", "forced"]


class ProcessExit(msgspec.Struct, frozen=True):
    """The end of a worker process. killed_for: why the supervisor killed it, or "". jobs: its jobs by its job map.

    left: the worker said itself that it leaves in peace, by an order or by its verdict on the store.
    """

    holder: Holder
    code: int
    killed_for: KillReason
    jobs: tuple[JobEntry, ...]
    ready: bool
    lived: float
    """Seconds since it was ready, 0 when it never was."""
    left: bool = False
    begun: tuple[Fence, ...] = ()
    """Those of all its jobs that had begun."""
    pid: int = 0
    finished: int = 0
    """The number of runs that it has settled."""
    replaced: bool = False
    """Whether another one had taken its place before."""


class RecycleBounds(msgspec.Struct, frozen=True):
    """The bounds at which a worker is replaced: number of jobs, age in seconds, memory in bytes.

    None: the bound of the app's settings. 0: never.
    """

    jobs: int | None = None
    age: float | None = None
    memory: int | None = None


class WorkerProcess:
    """A worker process in a session of its own, with its job map and its socket."""

    def __init__(self, config: WorkerConfig, clock: Clock, rng: Random, directory: str | None = None) -> None:
        """Start it in `directory`. `config` lacks descriptors, holder and pid, which are made here. Raise OSError."""
        loop = asyncio.get_running_loop()
        self.holder = Holder(uuid4().hex)
        self.hello: asyncio.Future[WorkerHello] = loop.create_future()
        self.ended: asyncio.Future[ProcessExit] = loop.create_future()
        """Set by its owner after `run` has returned."""
        self.up = asyncio.Event()
        """Set when it consumes."""
        self.stopping_since = 0.0
        """Monotonic seconds of the first request to stop, 0 before."""
        self.replaced = False
        """Whether another one has taken its place."""
        self._clock = clock
        self._map_fd = SharedJobMap.create(0)
        try:
            meters_fd = create_shared()
        except OSError:
            os.close(self._map_fd)
            raise
        self.meters: Final = MemoryReader(meters_fd)
        """What it counts; its owner closes it."""
        self._map: SharedJobMap | None = None
        self._head = SharedJobMap(self._map_fd, 0)
        self._killed_for: KillReason = ""
        self._overdue: frozenset[tuple[str, int]] = frozenset()
        self._started_at = clock.monotonic()
        self._share = rng.uniform(0.9, 1.0)  # of its bounds: workers that started together are not replaced together
        self._ready_at = 0.0
        self._writer: asyncio.StreamWriter | None = None

        def configure(fd: int) -> bytes:
            own = msgspec.structs.replace(
                config,
                holder=self.holder.id,
                map_fd=self._map_fd,
                control_fd=fd,
                supervisor=os.getpid(),
                meters_fd=meters_fd,
            )
            return encode(own)

        try:
            module, fds = "outlast.supervisor.child_main", (self._map_fd, meters_fd)
            self.child = Child(module, configure, fds=fds, own_session=True, directory=directory)
        except OSError:
            self._head.close()
            os.close(self._map_fd)
            self.meters.close()
            raise
        finally:
            os.close(meters_fd)  # the reader and the child have their own

    @property
    def settings(self) -> WorkerHello | None:
        """Its settings, None before its hello."""
        return self.hello.result() if self.hello.done() and not self.hello.cancelled() else None

    @property
    def ready(self) -> bool:
        """Whether it consumes."""
        return bool(self._ready_at)

    async def run(self) -> ProcessExit:
        """Read its messages until it has ended; kill its session then."""
        listening = asyncio.ensure_future(self._listen())
        try:
            await self.child.dead.wait()
        finally:
            await cancel(listening)
            kill_session(self.child.pid)
            if self._writer is not None:
                self._writer.close()
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()
            self.child.sock.close()
        return self._exit()

    async def came_up(self) -> bool:
        """Wait until it consumes, has ended, or COME_UP seconds have passed; return whether it consumes."""
        await ended_within(COME_UP, self.up.wait(), asyncio.wait((self.ended,)))
        return self.ready and not self.ended.done()

    def _exit(self) -> ProcessExit:
        """Return how it ended; close its job map."""
        jobs: tuple[JobEntry, ...] = ()
        left, finished = False, 0
        if self._map is not None:
            finished = self._map.finished
            jobs = tuple(self._map.read())
            left = self._map.left
            if self._map.ready and not self._ready_at:
                self._ready_at = self._clock.monotonic()
            self._map.close()
            self._map = None
        self._head.close()
        os.close(self._map_fd)
        self.hello.cancel()
        begun = tuple(job.fence for job in jobs if job.state in (STARTED, ENDED))
        if self._killed_for == "overdue":
            jobs = tuple(job for job in jobs if (job.fence.id, job.fence.token) in self._overdue)
        lived = self._clock.monotonic() - self._ready_at if self._ready_at else 0.0
        code, pid = self.child.code, self.child.pid
        assert code is not None  # it has ended
        ready = bool(self._ready_at)
        return ProcessExit(
            self.holder, code, self._killed_for, jobs, ready, lived, left, begun, pid, finished, self.replaced
        )

    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self.child.sock)
        frame = await read_frame(reader)
        if frame is not None:
            hello = msgspec.json.decode(frame, type=WorkerHello)
            self._map = SharedJobMap(self._map_fd, hello.map_size)
            self.hello.set_result(hello)
        while await read_frame(reader) is not None:
            _logger.warning("worker %d sent an unexpected message", self.child.pid)

    @property
    def killed(self) -> bool:
        """Whether its supervisor has killed it."""
        return bool(self._killed_for)

    # Messages

    def stop(self, *, end_grace: bool = False) -> None:
        """Request a stop."""
        self.stopping_since = self.stopping_since or self._clock.monotonic()
        self._send(StopWorker(end_grace))

    def send_losses(self, lost: list[Lost]) -> None:
        """Send the lost runs that the store reported."""
        if lost:
            self._send(Losses(tuple(lost)))

    def send_alarm(self, event: QueueUnattended) -> None:
        """Send an event for the app's observers."""
        self._send(QueueAlarm(event))

    def _send(self, message: SupervisorMessage) -> None:
        frame = pack(encode(message))
        if self._writer is not None:
            self._writer.write(frame)
        else:
            with contextlib.suppress(OSError):
                self.child.sock.send(frame)  # the child process is starting, and reads it later

    def kill(self, reason: KillReason) -> None:
        """Kill it with all processes of its session."""
        self._killed_for = reason
        kill_session(self.child.pid)

    # Checks

    def check(self, now: float, stall_after: float) -> None:
        """Record that it is ready; kill it when a job is past its hard deadline, or when it stalls without a job.

        A worker whose event loop is blocked by a job that is not overdue is not killed: it loses no job.
        """
        if self._map is None or self._killed_for:
            return
        if not self._ready_at:
            if self._map.ready:
                self._ready_at = now
                self.up.set()
            return
        overdue = tuple(job for job in self._map.read() if job.state == STARTED and 0 < job.deadline <= now)
        if overdue:
            self._overdue = frozenset((job.fence.id, job.fence.token) for job in overdue)
            names = ", ".join(job.fence.id for job in overdue)
            _logger.error("worker %d is killed, jobs past their hard deadline: %s", self.child.pid, names)
            self.kill("overdue")
        elif (stalled := now - self._map.last_beat) > stall_after and not self._map.running():
            _logger.error("worker %d is killed: its event loop has not run for %.0f s", self.child.pid, stalled)
            self.kill("stalled")

    def view(self, now: float) -> WorkerView:
        """Return what it does, as far as it shows: what it has shown counts for one lease. Not after its end."""
        settings, pid = self.settings, self.child.pid
        if self.stopping_since:
            return WorkerView(pid=pid, state="draining")
        if self._map is None or settings is None or not self._ready_at:
            return WorkerView(pid=pid, state="opening" if self._head.opening else "starting")
        if now - self._map.last_beat > max(settings.lease, _LEAST_SILENCE):
            return WorkerView(pid=pid, state="silent")
        signs = self._map.claims
        return WorkerView(
            pid=pid,
            state="consuming",
            due=now - signs.due_since if signs.due_since else 0.0,
            away=signs.away,
            asked=named(signs.asked, settings.queues),
            shut=named(signs.shut, settings.queues),
        )

    def recycle_reason(self, now: float, bounds: RecycleBounds) -> str:
        """Return why it should be replaced, "" when it need not. `bounds` have priority over its settings."""
        settings = self.settings
        if self.stopping_since or self._map is None or settings is None:
            return ""
        jobs = settings.recycle_jobs if bounds.jobs is None else bounds.jobs
        if jobs and self._map.finished >= jobs * self._share:
            return counted(self._map.finished, "job")
        age = settings.recycle_age if bounds.age is None else bounds.age
        if age and now - self._started_at >= age * self._share:
            return f"{now - self._started_at:.0f} s of age"
        memory = settings.recycle_memory if bounds.memory is None else bounds.memory
        if memory and (held := resident_bytes(self.child.pid)) > memory:
            return f"{held >> 20} MiB of memory"
        return ""
