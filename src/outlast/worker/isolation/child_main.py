"""The child process of an isolated run: `python -m outlast.worker.isolation.child_main CONFIG`, one job at a time."""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import signal
import socket
import sys
import threading
import time

import msgspec

from outlast.aio.children import die_with_parent, kill_group, resident_bytes
from outlast.aio.frames import pack, receive_frame
from outlast.core.clock import Clock
from outlast.core.message import Delivery, Fence, Usage
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Release
from outlast.worker.isolation.messages import (
    ChildNote,
    ChildReady,
    IsolatedConfig,
    RunReport,
    RunTask,
    decode_task,
    encode,
)
from outlast.worker.ports import ComposerPort
from outlast.worker.run import Run, RunPlan, conclude, fail, settled_as
from outlast.worker.slot_groups import SlotGroup
from outlast.worker.target import load_app
from outlast.worker.usage import ProcessMeter

__all__ = ["ignore_stops", "main", "serve"]


class _ParentChannel:
    """The socket to the worker. Its end means that the worker is gone, and so this process and its children go too."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._busy = False
        self.tasks: queue.SimpleQueue[RunTask | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="outlast-channel", daemon=True).start()

    def send(self, item: ChildReady | ChildNote | RunReport) -> None:
        """Send one message; from any thread."""
        with self._lock:
            self._sock.sendall(pack(encode(item)))

    def next(self) -> RunTask | None:
        """Return the next job, None when there will be none."""
        self._busy = False
        task = self.tasks.get()
        self._busy = task is not None
        return task

    def _listen(self) -> None:
        while (frame := receive_frame(self._sock)) is not None:
            self.tasks.put(decode_task(frame))
        self.tasks.put(None)
        if self._busy:
            kill_group(os.getpgrp())  # no worker is left that could take the report of this run


class _ChildRunHost:
    """What a run asks for here."""

    def __init__(self, composer: ComposerPort, channel: _ParentChannel) -> None:
        self.clock: Clock = composer.clock
        self.max_body = composer.settings.max_body
        self._channel = channel

    def noted(self, run: Run) -> None:
        """Pass notes on to the worker, which saves them."""
        notes, run.notes = run.notes, None
        for name, value in (notes or {}).items():
            self._channel.send(ChildNote(name, value))

    def begun(self, run: Run) -> None:
        """It has begun, or it would not be here."""


def main() -> None:
    """Import the app, then run jobs until the worker closes its socket."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=IsolatedConfig)
    die_with_parent(config.parent)
    ignore_stops()
    channel = _ParentChannel(socket.socket(fileno=config.fd))
    _run_all(channel, load_app(config.target, config.main).composer)


def serve(sock: socket.socket, composer: ComposerPort) -> None:
    """Run jobs of an app that is imported already."""
    _run_all(_ParentChannel(sock), composer)


def ignore_stops() -> None:
    """Let stop signals pass: an operator's go to every process of the service, and the worker decides about this one.

    By a handler, since what is ignored would stay ignored in programs that a job starts.
    """
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: None)


def _run_all(channel: _ParentChannel, composer: ComposerPort) -> None:
    host = _ChildRunHost(composer, channel)
    channel.send(ChildReady())
    with asyncio.Runner() as runner:
        while (task := channel.next()) is not None:
            channel.send(_run_task(task, composer, host, runner))


def _run_task(task: RunTask, composer: ComposerPort, host: _ChildRunHost, runner: asyncio.Runner) -> RunReport:
    """Run one job and decide about it, since only this process has the exception itself."""
    message = task.message
    delivery = Delivery(message, Fence(message.id, message.queue, 0), task.attempt, task.crashes)
    group: SlotGroup[Run] = SlotGroup(1)
    declaration = composer.registry.kinds.get(message.kind)
    if declaration is None:  # the code was changed between the worker's start and ours
        at = composer.clock.time() + DEFAULTS.park
        return RunReport.of(Release(delivery.fence, at, "its process has other code"), resident_bytes(os.getpid()))
    plan = RunPlan.of(declaration, composer.arguments[message.kind], group, composer.registry, apart=True)
    run = Run(delivery, plan, group, host, 0.0)
    run.deadline = task.deadline
    began, meter = time.monotonic(), ProcessMeter()
    try:
        values = run.values = plan.arguments.load(message.args)
        value = plan.handler(run.context(), **values) if plan.takes_context else plan.handler(**values)
        if inspect.iscoroutine(value):
            value = runner.run(value)
    except BaseException as error:  # a handler's sys.exit() is a failed attempt, not the end of this process
        outcome = fail(run, error)
    else:
        outcome = conclude(run, value)
    run.usage = Usage(meter.cpu(), time.monotonic() - began, meter.peak())
    return RunReport.of(settled_as(run, outcome, composer.rng), resident_bytes(os.getpid()))


if __name__ == "__main__":
    main()
