"""Runs jobs in child processes that are reused, recycled, and killed after their deadline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Sequence
from typing import Final

import msgspec

from outlast.aio.children import Child, how_ended
from outlast.aio.frames import pack, read_frame
from outlast.core.decide import UNRUNNABLE, Crashed, Outcome, Unrunnable
from outlast.core.message import Failure
from outlast.core.settlement import Release, Settlement
from outlast.core.tracing import Tracing
from outlast.meters import meters
from outlast.meters.metric import Reading
from outlast.worker.app_source import AppSource
from outlast.worker.isolation.child_effects import answer_effects
from outlast.worker.isolation.fork_client import ForkedChild, ForkServer
from outlast.worker.isolation.log_relay import handle_record, log_setup
from outlast.worker.isolation.messages import (
    ChildCalls,
    ChildEffects,
    ChildLog,
    ChildNote,
    ChildProbed,
    ChildReady,
    ChildSpan,
    EffectsAnswer,
    ImportFailed,
    IsolatedConfig,
    KindMissing,
    RunReport,
    RunTask,
    decode_child,
    encode,
)
from outlast.worker.run import Answer, Run, stopped

__all__ = ["JOBS_EACH", "RESIDENT_LIMIT", "ProcessPool"]

_logger = logging.getLogger("outlast.worker")

JOBS_EACH: Final = 1000
"""Jobs that one child process runs before a new one replaces it."""
RESIDENT_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of memory above which a child process is replaced after its job."""
_EXIT_TIME: Final = 5.0
_FLUSH_TIME: Final = 2.5
"""Seconds that an idle child process of a worker that stops has to exit: it takes 2 at most to send its spans."""
_START_TIME: Final = 60.0
_FAILED_PAUSE: Final = 5.0
_REMEMBERED: Final = 10_000
_CROWDED_PAUSE: Final = 0.25
_FORK_SERVER_IDLE: Final = 60.0


class _PoolChild:
    """One child process and its run."""

    def __init__(self, process: Child | ForkedChild, *, solo: bool) -> None:
        self.process = process
        self.solo = solo
        self.writer: asyncio.StreamWriter | None = None
        self.run: Run | None = None
        self.answer: Answer | None = None
        self.ready = False
        self.failed = ""
        self.retired = False
        self.jobs = 0

    def begin(self) -> None:
        """Send the child process its job when it is up: until then the job's timeout does not count."""
        run = self.run
        if self.ready and self.writer is not None and run is not None:
            run.begin(run.host.clock.monotonic())
            delivery = run.delivery
            passes = (run.passes or {}).items()
            probes = tuple(name for name, each in passes if each.probes)
            ramps = tuple(name for name, each in passes if not each.probes)
            trace = {} if run.trace is None else run.trace.carried
            task = RunTask(delivery.message, delivery.attempt, delivery.crashes, run.deadline, probes, ramps, trace)
            self.writer.write(pack(encode(task)))

    def send(self, answer: EffectsAnswer) -> None:
        """Send the child process an answer; do nothing if it has ended."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(pack(encode(answer)))

    def probed(self, message: ChildCalls | ChildProbed) -> None:
        """Begin the call of a probe of its run, or end the probe; nothing for a late message of a run before."""
        probe = None if self.run is None or self.run.passes is None else self.run.passes.get(message.guard)
        if probe is not None and isinstance(message, ChildProbed):
            probe.end(message.outcome)
        elif probe is not None:
            probe.calls()

    def retire(self) -> None:
        """Send it no more jobs and close the socket: it exits at the end of its input."""
        self.retired = True
        if self.writer is not None:
            self.writer.close()

    def kill(self) -> None:
        """Kill its process group."""
        self.retired = True
        self.process.kill()

    def finish(self, outcome: Outcome | None, settlement: Settlement | None) -> None:
        """Answer for its run, if it has one; it is free then."""
        run, answer = self.run, self.answer
        self.run = self.answer = None
        if run is not None and answer is not None:
            answer(run, outcome, settlement)


class ProcessPool:
    """At most `size` busy child processes (the budget counts), started when needed, each leading a process group.

    A child process that dies during a run gives the outcome Crashed, except when it was killed for a timeout or a
    cancellation, had not imported the app yet, or died while the worker stops.
    """

    def __init__(self, source: AppSource | None, *, size: int, tracing: Tracing | None = None) -> None:
        self._source = source
        self._tracing = tracing
        self._size = size
        self._children: dict[_PoolChild, asyncio.Task[None]] = {}
        self._stopping = False
        self._fork_server: ForkServer | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing_server: asyncio.Task[None] | None = None
        self._unrunnable: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

    def start(self, run: Run, *, solo: bool, answer: Answer) -> None:
        """Run the job in a reused child process, or alone in a new one."""

        def later(seconds: float, why: str) -> None:
            asyncio.get_running_loop().call_soon(answer, run, None, _later(run, seconds, why))

        if self._source is None:
            why = "its process finds no module-level Outlast to import: start the worker with a target like 'main:shop'"
            asyncio.get_running_loop().call_soon(answer, run, self._not_run(run, why), None)
            return
        if solo and self._crowded():
            later(_CROWDED_PAUSE, "too many processes are being started")
            return
        child = None if solo else self._idle_child()
        if child is None:
            if len(self._children) >= self._size and (idle := self._idle_child()) is not None:
                idle.retire()
            try:
                child = self._start_child(self._source, solo=solo)
            except OSError as error:
                _logger.error("no child process could be started: %s", error)  # noqa: TRY400
                later(_FAILED_PAUSE, "no process could be started")
                return
        child.run, child.answer = run, answer
        child.begin()

    def kill(self, run: Run) -> None:
        """Kill the child process of the run, with its process group."""
        for child in self._children:
            if child.run is run:
                child.kill()

    async def close(self) -> None:
        """Kill all child processes; return when they are reaped."""
        self._stopping = True
        if self._tracing is not None and self._tracing.tracer() is not None:
            await self._let_idle_ones_exit()
        for child in self._children:
            child.kill()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        ends: list[Awaitable[None]] = list(self._children.values())
        if self._closing_server is not None:
            ends.append(self._closing_server)
        if self._fork_server is not None:
            ends.append(self._fork_server.close())
        await asyncio.gather(*ends, return_exceptions=True)

    async def _let_idle_ones_exit(self) -> None:
        """Let them send the spans that the app's own provider has there: at their exit, which has its bound."""
        leaving = [self._children[each] for each in list(self._children) if each.run is None and each.ready]
        for each in list(self._children):
            if each.run is None:
                each.retire()
        if leaving:
            await asyncio.wait(leaving, timeout=_FLUSH_TIME)

    def stopping(self) -> None:
        """Count no crash from now on: the cause of the stop may kill the child processes as well."""
        self._stopping = True

    def _idle_child(self) -> _PoolChild | None:
        return next((each for each in self._children if each.run is None and not each.retired), None)

    # Starting a child

    def _start_child(self, source: AppSource, *, solo: bool) -> _PoolChild:
        """Start a child process: a fork for a job that must run alone, if that is possible. Raise OSError."""
        process: Child | ForkedChild | None = self._fork(source) if solo else None
        if process is None:
            process = Child(
                "outlast.worker.isolation.child_main",
                lambda fd: encode(IsolatedConfig(source, fd, os.getpid(), alone=solo)),
            )
        child = _PoolChild(process, solo=solo)
        self._children[child] = asyncio.get_running_loop().create_task(self._serve(child))
        return child

    def _fork(self, source: AppSource) -> ForkedChild | None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._fork_server is None:
            # A job runs alone because its worker died while it ran: more jobs of that worker follow.
            self._fork_server = ForkServer(source)
        return self._fork_server.fork()

    def _crowded(self) -> bool:
        """Return whether one more job that runs alone needs a process, not a fork, in addition to `size` busy ones."""
        busy = sum(each.run is not None for each in self._children)
        return self._fork_server is not None and not self._fork_server.usable and busy >= self._size

    def _start_idle_timer(self) -> None:
        """Close the fork server when no job has run alone for a while."""
        if self._fork_server is not None and not self._stopping and not any(each.solo for each in self._children):
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(_FORK_SERVER_IDLE, self._close_fork_server)

    def _close_fork_server(self) -> None:
        server, self._fork_server = self._fork_server, None
        if server is not None:
            self._closing_server = asyncio.get_running_loop().create_task(server.close())

    # Serving a child

    async def _serve(self, child: _PoolChild) -> None:
        listening = asyncio.ensure_future(self._listen(child))
        dying = asyncio.ensure_future(child.process.dead.wait())
        try:
            await asyncio.wait((listening, dying), return_when=asyncio.FIRST_COMPLETED)
            # Dead: its last message may still be in the socket. Input ended: it has a moment to exit.
            await asyncio.wait((listening, dying), timeout=_EXIT_TIME if listening.done() else 0.5)
        finally:
            child.process.kill()
            listening.cancel()
            await asyncio.gather(listening, dying, return_exceptions=True)
            if child.writer is not None:
                child.writer.close()
                with contextlib.suppress(OSError):
                    await child.writer.wait_closed()
            child.process.sock.close()
            del self._children[child]
            self._ended(child)
            if child.solo:
                self._start_idle_timer()

    async def _listen(self, child: _PoolChild) -> None:
        reader, child.writer = await asyncio.open_connection(sock=child.process.sock)
        if child.retired and child.run is None:
            child.writer.close()
        try:
            async with asyncio.timeout(_START_TIME):
                frame = await read_frame(reader)
        except TimeoutError:
            return
        first = None if frame is None else decode_child(frame)
        if not isinstance(first, ChildReady):
            child.failed = first.why if isinstance(first, ImportFailed) else ""
            return
        child.ready = True
        child.writer.write(pack(encode(log_setup())))
        child.begin()
        while (frame := await read_frame(reader)) is not None:
            try:
                message = decode_child(frame)
            except msgspec.DecodeError as error:
                _logger.error("a child process sent an invalid message and is killed: %s", error)  # noqa: TRY400
                return
            if isinstance(message, RunReport):
                self._finished(child, message)
            elif isinstance(message, ChildLog):
                handle_record(message)
            elif isinstance(message, ChildSpan):
                if self._tracing is not None:
                    self._tracing.take(message.span)
            elif isinstance(message, KindMissing):
                self._kind_missing(child, message)
            elif isinstance(message, ChildNote) and child.run is not None:
                child.run.note(message.name, message.value)
            elif isinstance(message, ChildCalls | ChildProbed):
                child.probed(message)
            elif isinstance(message, ChildEffects) and child.run is not None:
                answer_effects(child.run, message, child.send)

    def _finished(self, child: _PoolChild, report: RunReport) -> None:
        """Answer with the child's report; keep the child if it may run more jobs."""
        child.jobs += 1
        if report.left and not child.solo and child.run is not None:
            self._tell_left(child.run.delivery.message.kind, report.left)
        if child.solo or child.jobs >= JOBS_EACH or report.resident > RESIDENT_LIMIT or report.left:
            child.retire()
        _count(report.counted)
        if child.run is not None:
            self._unrunnable.pop(child.run.delivery.message.id, None)
            child.run.cpu = report.cpu
        if child.run is not None and child.run.stop is None:
            child.finish(None, report.settlement(child.run.delivery.fence))
        elif child.run is not None:
            child.finish(stopped(child.run), None)  # the stop came before the report

    def _tell_left(self, kind: str, left: str) -> None:
        """Log why a child process is replaced; once per kind and reason."""
        if (kind, left) not in self._told and len(self._told) < _REMEMBERED:
            self._told.add((kind, left))
            _logger.info("a child process is replaced after a job of kind %r, which left %s", kind, left)

    def _kind_missing(self, child: _PoolChild, message: KindMissing) -> None:
        run, source = child.run, self._source
        if run is None or source is None:
            return
        imported = ", ".join(dict.fromkeys((*source.modules, source.script or source.target.partition(":")[0])))
        failed = message.failed and f" (imports that failed: {message.failed})"
        why = (
            f"its process does not know kind {run.delivery.message.kind!r} after importing {imported}{failed}: declare "
            "it in a module that these import, or start the worker with the target of one that does"
        )
        child.finish(self._not_run(run, why, kind_missing=True), None)

    def _not_run(self, run: Run, why: str, *, kind_missing: bool = False) -> Outcome:
        """Return the outcome of a run that no child process could begin."""
        message_id = run.delivery.message.id
        times = self._unrunnable.pop(message_id, 0)
        self._unrunnable[message_id] = times + 1
        if len(self._unrunnable) > _REMEMBERED:
            del self._unrunnable[next(iter(self._unrunnable))]
        failure = Failure(run.delivery.attempt, run.host.clock.time(), UNRUNNABLE[not kind_missing], why)
        return Unrunnable(failure, times)

    def _ended(self, child: _PoolChild) -> None:
        """Answer for the run of a dead child process."""
        run, code = child.run, child.process.code
        if run is None:
            return
        if run.stop is not None:
            child.finish(stopped(run), None)
        elif self._stopping and code in (None, -signal.SIGKILL):
            # By this worker, or by whatever ends the whole service. Any other end is the job's own, also now.
            child.finish(None, Release(run.delivery.fence, why="the worker stopped", begun=run.begun))
        elif child.process.lost:
            child.finish(None, Release(run.delivery.fence, why="the fork server of its process ended", begun=run.begun))
        elif not child.ready:
            target = "" if self._source is None else self._source.target
            what = child.failed or how_ended(code)
            why = f"its process ended before it had imported {target}: {what}"
            child.finish(self._not_run(run, why), None)
        else:
            text = f"its process died during the run ({how_ended(code)})"
            failure = Failure(run.delivery.attempt, run.host.clock.time(), "Crashed", text)
            child.finish(Crashed(failure, child.solo), None)


def _count(readings: Sequence[Reading]) -> None:
    """Count what a child process has counted. What cannot be counted is left out: the report of a run is worth more."""
    try:
        meters.add(readings)
    except ValueError as error:
        _logger.debug("what a child process has counted is left out: %s", error)


def _later(run: Run, seconds: float, why: str) -> Release:
    return Release(run.delivery.fence, at=run.host.clock.time() + seconds, why=why)
