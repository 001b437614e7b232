"""One life of one supervised worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from random import Random
from typing import Final, Literal
from uuid import uuid4

import msgspec

from outlast.aio.children import Child, how_ended, kill_session, resident_bytes
from outlast.aio.frames import pack, read_frame
from outlast.aio.tasks import cancel
from outlast.core.clock import Clock
from outlast.core.events import QueueUnattended
from outlast.core.message import Failure, Holder
from outlast.core.settlement import Lost, Reschedule
from outlast.supervisor.messages import Losses, QueueAlarm, StopWorker, WorkerConfig, WorkerHello, encode
from outlast.worker.job_map import STARTED, JobEntry, SharedJobMap

__all__ = ["STALL_AFTER", "RecycleBounds", "ProcessExit", "WorkerProcess", "release_jobs_of"]

_logger = logging.getLogger("outlast.supervisor")

STALL_AFTER: Final = 30.0
"""Seconds without a beat after which a worker that runs nothing counts as stalled."""
_LINGER: Final = 10.0

Verdict = Literal["", "overdue", "stalled", "forced"]


class ProcessExit(msgspec.Struct, frozen=True):
    """How it ended. verdict: why the supervisor killed it, "" when it did not. slots: what it held by its map."""

    holder: Holder
    code: int
    verdict: Verdict
    slots: tuple[JobEntry, ...]
    ready: bool
    lived: float
    """Seconds since it was ready, 0 when it never was."""


class RecycleBounds(msgspec.Struct, frozen=True):
    """When a worker is replaced: after so many jobs, at this age in seconds, above this many bytes.

    None: as the app's settings say. 0: never.
    """

    jobs: int | None = None
    age: float | None = None
    memory: int | None = None


class WorkerProcess:
    """A worker process in a session of its own, with its slot map and its socket."""

    def __init__(self, config: WorkerConfig, clock: Clock, rng: Random, directory: str | None = None) -> None:
        """Start it in `directory`; `config` lacks descriptors and holder, which are made here. Raise OSError."""
        self.holder = Holder(uuid4().hex)
        self.hello: asyncio.Future[WorkerHello] = asyncio.get_running_loop().create_future()
        self.up = asyncio.Event()
        """Set when it was seen consuming."""
        self.halted = 0.0
        """When it was told to stop, monotonic seconds; 0 while it was not."""
        self._clock = clock
        self._slots_fd = SharedJobMap.create(0)
        self._map: SharedJobMap | None = None
        self._verdict: Verdict = ""
        self._condemned: tuple[JobEntry, ...] = ()
        self._born = clock.monotonic()
        self._share = rng.uniform(0.9, 1.0)  # of its bounds: workers that began together are not outworn together
        self._ready_at = 0.0
        self._writer: asyncio.StreamWriter | None = None
        self._sock, theirs = socket.socketpair()
        try:
            started = msgspec.structs.replace(
                config, holder=self.holder.id, slots_fd=self._slots_fd, control_fd=theirs.fileno()
            )
            command = [sys.executable, "-m", "outlast.supervisor.child_main", encode(started).decode()]
            self.child = Child(command, fds=(self._slots_fd, theirs.fileno()), own_session=True, directory=directory)
        except OSError:
            self._sock.close()
            os.close(self._slots_fd)
            raise
        finally:
            theirs.close()

    @property
    def greeting(self) -> WorkerHello | None:
        """What it said of its settings, None before."""
        return self.hello.result() if self.hello.done() and not self.hello.cancelled() else None

    @property
    def ready(self) -> bool:
        """Whether it was seen consuming."""
        return bool(self._ready_at)

    async def live(self) -> ProcessExit:
        """Listen to it until it is dead, and everything it started with it."""
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
            self._sock.close()
        return self._obituary()

    def _obituary(self) -> ProcessExit:
        slots: tuple[JobEntry, ...] = ()
        if self._map is not None:
            slots = tuple(self._map.read())
            if self._map.ready and not self._ready_at:
                self._ready_at = self._clock.monotonic()
            self._map.close()
            self._map = None
        os.close(self._slots_fd)
        if not self.hello.done():
            self.hello.cancel()
        if self._verdict == "overdue":
            guilty = {(slot.fence.id, slot.fence.token) for slot in self._condemned}
            slots = tuple(slot for slot in slots if (slot.fence.id, slot.fence.token) in guilty)
        lived = self._clock.monotonic() - self._ready_at if self._ready_at else 0.0
        code = 0 if self.child.code is None else self.child.code
        return ProcessExit(self.holder, code, self._verdict, slots, bool(self._ready_at), lived)

    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._sock)
        frame = await read_frame(reader)
        if frame is not None:
            hello = msgspec.json.decode(frame, type=WorkerHello)
            self._map = SharedJobMap(self._slots_fd, hello.slots)
            self.hello.set_result(hello)
        while await read_frame(reader) is not None:
            _logger.warning("worker %d said something unexpected", self.child.pid)

    # Orders

    def halt(self, *, hurry: bool = False) -> None:
        """Tell it to stop; a child that is not listening yet is told when it is."""
        self.halted = self.halted or self._clock.monotonic()
        if self._writer is None:
            with contextlib.suppress(OSError):
                self._sock.send(pack(encode(StopWorker(hurry))))
        else:
            self._writer.write(pack(encode(StopWorker(hurry))))

    def tell_lost(self, lost: list[Lost]) -> None:
        """Pass on what the store said no longer counts."""
        if lost and self._writer is not None:
            self._writer.write(pack(encode(Losses(tuple(lost)))))

    def tell_alarm(self, event: QueueUnattended) -> None:
        """Pass on what the app's observers should hear."""
        if self._writer is not None:
            self._writer.write(pack(encode(QueueAlarm(event))))

    def kill(self, verdict: Verdict) -> None:
        """Kill it with everything it started."""
        self._verdict = verdict
        kill_session(self.child.pid)

    # Looking

    def check(self, now: float, stall_after: float) -> None:
        """Note that it is ready; kill it when a job is past its hard deadline, or when it stalls with nothing to run.

        A worker whose loop is blocked by a job that is not overdue is left alone: it loses nothing.
        """
        if self._map is None or self._verdict:
            return
        if not self._ready_at:
            if self._map.ready:
                self._ready_at = now
                self.up.set()
            return
        condemned = tuple(slot for slot in self._map.read() if slot.state == STARTED and 0 < slot.deadline <= now)
        if condemned:
            self._condemned = condemned
            names = ", ".join(slot.fence.id for slot in condemned)
            _logger.error("worker %d is killed: past its hard deadline: %s", self.child.pid, names)
            self.kill("overdue")
        elif now - self._map.last_beat > stall_after and not self._map.running():
            _logger.error("worker %d is killed: it has not moved for %.0f s", self.child.pid, now - self._map.last_beat)
            self.kill("stalled")

    def outworn(self, now: float, bounds: RecycleBounds) -> str:
        """Return why it should be replaced by a fresh one, "" when it need not. `bounds` come before its settings."""
        greeting = self.greeting
        if self.halted or self._map is None or greeting is None:
            return ""
        jobs = greeting.recycle_jobs if bounds.jobs is None else bounds.jobs
        if jobs and self._map.finished >= jobs * self._share:
            return f"{self._map.finished} jobs"
        age = greeting.recycle_age if bounds.age is None else bounds.age
        if age and now - self._born >= age * self._share:
            return f"{now - self._born:.0f} s of age"
        memory = greeting.recycle_memory if bounds.memory is None else bounds.memory
        if memory and (held := resident_bytes(self.child.pid)) > memory:
            return f"{held >> 20} MiB of memory"
        return ""


def release_jobs_of(death: ProcessExit, now: float) -> list[Reschedule]:
    """Return what the jobs that a crash is counted for become: ready again at their old rank, one crash more.

    Only those that had started count, and none when the process ended by itself in peace or stalled with nothing to
    run; past a hard deadline, the overdue ones alone.
    """
    if death.code == 0 or death.verdict in ("stalled", "forced"):
        return []
    if death.verdict == "overdue":
        text = "ran past its hard deadline: its worker process was killed"
    else:
        text = f"its worker process died in mid run ({how_ended(death.code)})"
    return [
        Reschedule(
            slot.fence,
            min(slot.run_at, now),
            slot.attempt,
            Failure(slot.attempt, now, "WorkerDied", text),
            crashes=slot.crashes + 1,
        )
        for slot in death.slots
        if slot.state == STARTED
    ]
