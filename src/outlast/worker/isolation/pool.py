"""Runs jobs in child processes that are kept warm, recycled, and killed past their deadline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from outlast.aio.children import Child, how_ended
from outlast.aio.frames import pack, read_frame
from outlast.core.decide import Crashed, Outcome
from outlast.core.settlement import Release, Settlement
from outlast.worker.failures import plain_failure
from outlast.worker.isolation.fork_client import ForkedChild, ForkServer
from outlast.worker.isolation.messages import ChildNote, IsolatedConfig, RunReport, RunTask, decode_said, encode
from outlast.worker.run import Run, stopped

__all__ = ["JOBS_EACH", "RESIDENT_LIMIT", "ProcessPool"]

_logger = logging.getLogger("outlast.worker")

JOBS_EACH: Final = 1000
"""Jobs that one child runs before a fresh one takes its place."""
RESIDENT_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of memory beyond which a child is replaced after its job."""
_LEAVE: Final = 5.0
_COME_UP: Final = 60.0
_NOT_STARTED: Final = 5.0
_CROWDED: Final = 0.25
_TEMPLATE_IDLE: Final = 60.0

Answer = Callable[[Run, Outcome | None, Settlement | None], None]


class _PoolChild:
    """One child: its process, and the run it is busy with."""

    def __init__(self, child: Child | ForkedChild, sock: socket.socket) -> None:
        self.child = child
        self.sock = sock
        self.writer: asyncio.StreamWriter | None = None
        self.run: Run | None = None
        self.answer: Answer | None = None
        self.solo = False
        self.ready = False
        self.retired = False
        self.jobs = 0

    def begin(self) -> None:
        """Send the child its job, once it is up: until then the job's timeout does not count."""
        run = self.run
        if self.ready and self.writer is not None and run is not None:
            run.begin(run.host.clock.monotonic())
            delivery = run.delivery
            task = RunTask(delivery.message, delivery.attempt, delivery.crashes, run.deadline)
            self.writer.write(pack(encode(task)))


class ProcessPool:
    """At most `size` busy children (the executor counts), spawned when needed, each leading a process group.

    A child that dies in mid run makes the outcome Crashed, and nothing else does: not a kill for the timeout or a
    cancellation, not one before the app was imported, not one while the worker stops.
    """

    def __init__(self, target: str | None, *, size: int, main: str | None = None) -> None:
        self._target = target
        self._size = size
        self._main = main
        self._workers: dict[_PoolChild, asyncio.Task[None]] = {}
        self._closing = False
        self._template: ForkServer | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    def start(self, run: Run, *, solo: bool, answer: Answer) -> None:
        """Run it in a warm child, or alone in a fresh one."""
        loop = asyncio.get_running_loop()
        if self._target is None:
            _logger.error(
                "job %s needs a process of its own, and no module-level Outlast was found to import there: "
                "start the worker with a target such as 'main:shop'",
                run.delivery.message.id,
            )
            loop.call_soon(answer, run, None, self._later(run, 60.0, "no target to import in a child process"))
            return
        if solo and self._crowded():
            loop.call_soon(answer, run, None, self._later(run, _CROWDED, "too many processes are being started"))
            return
        worker = None if solo else next((each for each in self._workers if each.run is None and not each.retired), None)
        if worker is None:
            if len(self._workers) >= self._size:
                self._retire_idle()
            try:
                worker = self._spawn(self._target, alone=solo)
            except OSError as error:
                _logger.error("no child process could be started: %s", error)  # noqa: TRY400
                loop.call_soon(answer, run, None, self._later(run, _NOT_STARTED, "no process could be started"))
                return
        worker.run, worker.answer, worker.solo = run, answer, solo
        worker.begin()

    def kill(self, run: Run) -> None:
        """Kill the child that runs it, and what that child started."""
        for worker in self._workers:
            if worker.run is run:
                worker.retired = True
                worker.child.kill()

    async def close(self) -> None:
        """Kill every child; return when all are reaped."""
        self._closing = True
        for worker in self._workers:
            worker.retired = True
            worker.child.kill()
        if self._idle is not None:
            self._idle.cancel()
        ends: list[Awaitable[None]] = list(self._workers.values())
        if self._leaving is not None:
            ends.append(self._leaving)
        if self._template is not None:
            ends.append(self._template.close())
        await asyncio.gather(*ends, return_exceptions=True)

    def stopping(self) -> None:
        """From now on a death counts as the machine's doing: whoever stops us may be killing all there is."""
        self._closing = True

    def _crowded(self) -> bool:
        """Tell whether one more that runs alone would have to be started anew beside `size` others."""
        busy = sum(each.run is not None for each in self._workers)
        return self._template is not None and not self._template.usable and busy >= self._size

    def _later(self, run: Run, seconds: float, why: str) -> Release:
        return Release(run.delivery.fence, at=run.host.clock.time() + seconds, why=why)

    def _spawn(self, target: str, *, alone: bool) -> _PoolChild:
        """Make a fresh child: for a job that must run alone a fork, where that can be."""
        ours, theirs = socket.socketpair()
        try:
            child: Child | ForkedChild | None = self._fork(target, theirs) if alone else None
            if child is None:
                config = IsolatedConfig(target, theirs.fileno(), os.getpid(), self._main)
                command = [sys.executable, "-m", "outlast.worker.isolation.child_main", encode(config).decode()]
                child = Child(command, fds=(theirs.fileno(),), own_session=False)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = _PoolChild(child, ours)
        self._workers[worker] = asyncio.get_running_loop().create_task(self._serve(worker))
        return worker

    def _fork(self, target: str, line: socket.socket) -> ForkedChild | None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._template is None:
            # Whoever runs alone was there when a whole worker died, and so it is seldom the only one.
            self._template = ForkServer(target, self._main)
        return self._template.fork(line)

    def _rest(self) -> None:
        """Send the template away when nothing has had to run alone for a while."""
        if self._template is not None and not self._closing and not any(each.solo for each in self._workers):
            self._idle = asyncio.get_running_loop().call_later(_TEMPLATE_IDLE, self._forget)

    def _forget(self) -> None:
        template, self._template = self._template, None
        if template is not None:
            self._leaving = asyncio.get_running_loop().create_task(template.close())

    def _retire_idle(self) -> None:
        for worker in self._workers:
            if worker.run is None and not worker.retired:
                self._retire(worker)
                return

    def _retire(self, worker: _PoolChild) -> None:
        worker.retired = True
        if worker.writer is not None:
            worker.writer.close()  # the child sees the end of its input and leaves

    async def _serve(self, worker: _PoolChild) -> None:
        listening = asyncio.ensure_future(self._listen(worker))
        dying = asyncio.ensure_future(worker.child.dead.wait())
        try:
            await asyncio.wait((listening, dying), return_when=asyncio.FIRST_COMPLETED)
            # Dead: what it said last may still be in the socket. Silent: it has a moment to leave by itself.
            await asyncio.wait((listening, dying), timeout=_LEAVE if listening.done() else 0.5)
        finally:
            worker.child.kill()
            listening.cancel()
            await asyncio.gather(listening, dying, return_exceptions=True)
            if worker.writer is not None:
                worker.writer.close()
                with contextlib.suppress(OSError):
                    await worker.writer.wait_closed()
            worker.sock.close()
            del self._workers[worker]
            self._bury(worker)
            if worker.solo:
                self._rest()

    async def _listen(self, worker: _PoolChild) -> None:
        reader, worker.writer = await asyncio.open_connection(sock=worker.sock)
        if worker.retired and worker.run is None:
            worker.writer.close()
        try:
            async with asyncio.timeout(_COME_UP):
                if await read_frame(reader) is None:
                    return
        except TimeoutError:
            return
        worker.ready = True
        worker.begin()
        while (frame := await read_frame(reader)) is not None:
            try:
                said = decode_said(frame)
            except msgspec.DecodeError as error:
                _logger.error("a child process spoke nonsense and is killed: %s", error)  # noqa: TRY400
                return
            if isinstance(said, RunReport):
                self._finished(worker, said)
            elif isinstance(said, ChildNote) and worker.run is not None:
                worker.run.note(said.name, said.value)

    def _finished(self, worker: _PoolChild, report: RunReport) -> None:
        run, answer = worker.run, worker.answer
        worker.run = worker.answer = None
        worker.jobs += 1
        if worker.solo or worker.jobs >= JOBS_EACH or report.resident > RESIDENT_LIMIT:
            self._retire(worker)
        if run is not None and answer is not None:
            if run.stop is None:
                answer(run, None, report.settlement(run.delivery))
            else:
                answer(run, stopped(run), None)  # it was told to stop first, and ended in the same moment

    def _bury(self, worker: _PoolChild) -> None:
        run, answer = worker.run, worker.answer
        worker.run = worker.answer = None
        if run is None or answer is None:
            return
        code = worker.child.code
        if run.stop is not None:
            answer(run, stopped(run), None)
        elif self._closing:
            answer(run, None, Release(run.delivery.fence, why="the worker stopped"))
        elif worker.child.lost:
            answer(run, None, Release(run.delivery.fence, why="there was nothing to fork its process from"))
        elif not worker.ready:
            _logger.error("a child process ended (%s) before it had imported %s", how_ended(code), self._target)
            answer(run, None, self._later(run, _NOT_STARTED, "its process did not come up"))
        else:
            attempt, at = run.delivery.attempt, run.host.clock.time()
            failure = plain_failure(
                "Crashed", f"its process ended in mid run ({how_ended(code)})", attempt=attempt, at=at
            )
            answer(run, Crashed(failure, worker.solo), None)
