"""The child process of isolated runs: `python -m outlast.worker.isolation.child_main CONFIG`, one job at a time."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import socket
import sys
import threading
from time import monotonic
from typing import NoReturn

import msgspec

from outlast.aio.children import die_with_parent, kill_group, resident_bytes
from outlast.aio.frames import pack, receive_frame
from outlast.aio.portal import expect_short_loops
from outlast.aio.signals import ignore_stops
from outlast.core.clock import Clock
from outlast.core.exitcodes import FAILED
from outlast.core.message import Delivery, Fence, Usage
from outlast.core.registry import Declaration
from outlast.core.settlement import Settlement
from outlast.meters import meters
from outlast.resilience.deadlines import ends_at
from outlast.resilience.passes import GivenProbe, Pass, RampPass, with_passes
from outlast.worker.app_source import load_source
from outlast.worker.failures import MESSAGE_LIMIT, type_name
from outlast.worker.isolation.child_effects import ChildEffectsPort
from outlast.worker.isolation.clean_run import CleanRuns, RunCoroutine
from outlast.worker.isolation.log_relay import apply_setup
from outlast.worker.isolation.messages import (
    ChildCalls,
    ChildMessage,
    ChildNote,
    ChildProbed,
    ChildReady,
    ChildSpan,
    EffectsAnswer,
    ImportFailed,
    IsolatedConfig,
    KindMissing,
    LogSetup,
    RunReport,
    RunTask,
    decode_worker,
    encode,
)
from outlast.worker.isolation.own_parent import continue_in_fork
from outlast.worker.ports import ComposerPort
from outlast.worker.run import Run, RunPlan, run_blocking, settled_as
from outlast.worker.slot_groups import SlotGroup
from outlast.worker.usage import ProcessMeter

__all__ = ["main", "serve"]

_logger = logging.getLogger("outlast.worker")
_FLUSH = 2.0
"""Seconds that the app's own provider of spans has when this process ends."""


class _ParentChannel:
    """The socket to the worker. When it ends, the worker has ended: this process group is killed or exits too."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._busy = False
        self._sender = 0
        self._unsent: list[bytes] = []
        self.tasks: queue.SimpleQueue[LogSetup | RunTask | None] = queue.SimpleQueue()
        self.effects = ChildEffectsPort(self.send)
        threading.Thread(target=self._listen, name="outlast-channel", daemon=True).start()

    def send(self, item: ChildMessage) -> None:
        """Send one message; from any thread, and from a signal handler that interrupts another call."""
        frame = pack(encode(item))
        if self._sender == threading.get_ident():
            self._unsent.append(frame)
            return
        with self._lock:
            self._sender = threading.get_ident()
            try:
                self._sock.sendall(frame)
                while self._unsent:
                    self._sock.sendall(self._unsent.pop(0))
            finally:
                self._sender = 0

    def next(self) -> LogSetup | RunTask | None:
        """Return the next message, such as a job; None after the last one."""
        self._busy = False
        task = self.tasks.get()
        self._busy = isinstance(task, RunTask)
        return task

    def _listen(self) -> None:
        while (frame := receive_frame(self._sock)) is not None:
            message = decode_worker(frame)
            if isinstance(message, EffectsAnswer):
                self.effects.answered(message)
            else:
                self.tasks.put(message)
        self.tasks.put(None)
        if self._busy:
            kill_group(os.getpgrp())  # no worker is left to take the report of this run


class _ChildRunHost:
    """The host of a run in this process."""

    def __init__(self, composer: ComposerPort, channel: _ParentChannel) -> None:
        self.clock: Clock = composer.clock
        self.max_body = composer.settings.max_body
        self.check_progress = composer.check_progress
        self._check_once = composer.check_once
        self._channel = channel
        """Of the last run."""

    def noted(self, run: Run) -> None:
        """Send the notes to the worker, which saves them."""
        notes, run.notes = run.notes, None
        for name, value in (notes or {}).items():
            self._channel.send(ChildNote(name, value))

    def begun(self, run: Run) -> None:
        """Do nothing: the worker records the begin."""

    def effects_of(self, run: Run) -> ChildEffectsPort:
        """Return the effects of the run, which the worker reads and saves; raise ConfigurationError."""
        self._check_once()
        self._channel.effects.limit = self.max_body
        return self._channel.effects

    def probe_of(self, guard: str) -> GivenProbe:
        """Return a probe that the worker has given; it is told of the call and its outcome at once, for the lease."""
        send = self._channel.send
        return GivenProbe(lambda: send(ChildCalls(guard)), lambda outcome: send(ChildProbed(guard, outcome)))


def main() -> None:
    """Import the app, then run jobs until the worker closes its socket."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=IsolatedConfig)
    die_with_parent(config.parent)
    ignore_stops()
    if config.alone:
        continue_in_fork(config.fd)
    channel = _ParentChannel(socket.socket(fileno=config.fd))
    try:
        app, failed = load_source(config.source)
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:MESSAGE_LIMIT]
        channel.send(ImportFailed(text.encode("utf-8", "backslashreplace").decode()))
        raise
    _run_all(channel, app.composer, failed)


def serve(sock: socket.socket, composer: ComposerPort, failed: str) -> None:
    """Run jobs of an app that is already imported. failed: imports that failed, in words."""
    _run_all(_ParentChannel(sock), composer, failed)


def _run_all(channel: _ParentChannel, composer: ComposerPort, failed: str) -> None:
    try:
        _run_each(channel, composer, failed)
    except BaseException as error:
        # A job may have broken what this process needs. At an ordinary exit its threads and exit hooks could hold the
        # process, and with it the run, until the deadline of the job.
        _die(f"{type_name(error)} outside of a run")


def _run_each(channel: _ParentChannel, composer: ComposerPort, failed: str) -> None:
    host = _ChildRunHost(composer, channel)
    expect_short_loops()
    tracing = composer.tracing
    if tracing is not None:
        tracing.relay(lambda span: channel.send(ChildSpan(span)))
    process = os.getpid()
    channel.send(ChildReady())
    runs: CleanRuns | None = None
    while (message := channel.next()) is not None:
        if isinstance(message, LogSetup):
            apply_setup(message, channel.send)
            if failed:
                _logger.warning("a child process could not import %s, as its worker has", failed)
            runs = CleanRuns(_die)
            continue
        declaration = composer.registry.kinds.get(message.message.kind)
        if declaration is None:
            channel.send(KindMissing(failed))
            continue
        assert runs is not None  # the set-up of the logs comes first
        (settlement, cpu), left = runs.call(functools.partial(_run_task, message, declaration, composer, host))
        channel.send(RunReport.of(settlement, resident_bytes(process), left, cpu, meters.take()))
    if tracing is not None:
        tracing.flush(_FLUSH)


def _run_task(
    task: RunTask,
    declaration: Declaration,
    composer: ComposerPort,
    host: _ChildRunHost,
    run_coroutine: RunCoroutine,
) -> tuple[Settlement, float]:
    """Run one job; return its settlement, as only this process has the exception object, and its CPU seconds."""
    message = task.message
    delivery = Delivery(message, Fence(message.id, message.queue, 0), task.attempt, task.crashes)
    group: SlotGroup[Run] = SlotGroup(1)
    plan = RunPlan.of(declaration, composer.arguments[message.kind], group, composer.registry, in_child=True)
    run = Run(delivery, plan, group, host, 0.0)
    run.deadline = task.deadline
    ends_at(run.remaining)
    if task.trace and composer.tracing is not None:
        run.begin_trace(composer.tracing.in_child(message, task.trace))
    began, meter = monotonic(), ProcessMeter()
    if task.probes or task.ramps:
        passes: dict[str, Pass] = {
            **dict.fromkeys(task.ramps, RampPass()),
            **{name: host.probe_of(name) for name in task.probes},
        }
        outcome = with_passes(passes, run_blocking, run, run_coroutine)
    else:
        outcome = run_blocking(run, run_coroutine)
    run.usage = Usage(meter.cpu(), monotonic() - began, meter.peak())
    return settled_as(run, outcome, composer.rng), run.usage.cpu


def _die(why: str) -> NoReturn:
    """End this process: its worker finds out that it died during the run."""
    with contextlib.suppress(BaseException):  # a handler of the log is the app's
        _logger.critical("the child process ends at once: %s", why)
    os._exit(FAILED)


if __name__ == "__main__":
    main()
