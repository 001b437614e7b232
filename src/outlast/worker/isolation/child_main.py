"""The child process of isolated runs: `python -m outlast.worker.isolation.child_main CONFIG`, one job at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import socket
import sys
import threading
import time
from typing import NoReturn

import msgspec

from outlast.aio.children import die_with_parent, kill_group, resident_bytes
from outlast.aio.frames import pack, receive_frame
from outlast.aio.loops import apart, complete
from outlast.aio.signals import ignore_stops
from outlast.core.clock import Clock
from outlast.core.exitcodes import FAILED
from outlast.core.message import Delivery, Fence, Usage
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Release, Settlement
from outlast.worker.isolation.messages import (
    ChildMessage,
    ChildNote,
    ChildReady,
    IsolatedConfig,
    RunReport,
    RunTask,
    decode_task,
    encode,
)
from outlast.worker.ports import ComposerPort
from outlast.worker.run import Run, RunPlan, run_blocking, settled_as
from outlast.worker.slot_groups import SlotGroup
from outlast.worker.target import load_app
from outlast.worker.usage import ProcessMeter

__all__ = ["main", "serve"]

_logger = logging.getLogger("outlast.worker")


class _ParentChannel:
    """The socket to the worker. When it ends, the worker has ended: this process group is killed or exits too."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._busy = False
        self.tasks: queue.SimpleQueue[RunTask | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="outlast-channel", daemon=True).start()

    def send(self, item: ChildMessage) -> None:
        """Send one message; from any thread."""
        with self._lock:
            self._sock.sendall(pack(encode(item)))

    def next(self) -> RunTask | None:
        """Return the next job, None after the last one."""
        self._busy = False
        task = self.tasks.get()
        self._busy = task is not None
        return task

    def _listen(self) -> None:
        while (frame := receive_frame(self._sock)) is not None:
            self.tasks.put(decode_task(frame))
        self.tasks.put(None)
        if self._busy:
            kill_group(os.getpgrp())  # no worker is left to take the report of this run


class _ChildRunHost:
    """The host of a run in this process."""

    def __init__(self, composer: ComposerPort, channel: _ParentChannel) -> None:
        self.clock: Clock = composer.clock
        self.max_body = composer.settings.max_body
        self._channel = channel

    def noted(self, run: Run) -> None:
        """Send the notes to the worker, which saves them."""
        notes, run.notes = run.notes, None
        for name, value in (notes or {}).items():
            self._channel.send(ChildNote(name, value))

    def begun(self, run: Run) -> None:
        """Do nothing: the worker records the begin."""


def main() -> None:
    """Import the app, then run jobs until the worker closes its socket."""
    config = msgspec.json.decode(sys.argv[1].encode(), type=IsolatedConfig)
    die_with_parent(config.parent)
    ignore_stops()
    channel = _ParentChannel(socket.socket(fileno=config.fd))
    _run_all(channel, load_app(config.target, config.main).composer)


def serve(sock: socket.socket, composer: ComposerPort) -> None:
    """Run jobs of an app that is already imported."""
    _run_all(_ParentChannel(sock), composer)


def _run_all(channel: _ParentChannel, composer: ComposerPort) -> None:
    host = _ChildRunHost(composer, channel)
    channel.send(ChildReady())
    with asyncio.Runner() as runner:
        while (task := channel.next()) is not None:
            settlement = _run_task(task, composer, host, runner)
            channel.send(RunReport.of(settlement, resident_bytes(os.getpid())))


def _run_task(task: RunTask, composer: ComposerPort, host: _ChildRunHost, runner: asyncio.Runner) -> Settlement:
    """Run one job and return its settlement: only this process has the exception object."""
    message = task.message
    delivery = Delivery(message, Fence(message.id, message.queue, 0), task.attempt, task.crashes)
    group: SlotGroup[Run] = SlotGroup(1)
    declaration = composer.registry.kinds.get(message.kind)
    if declaration is None:  # the code changed after the start of the worker
        return Release(delivery.fence, composer.clock.time() + DEFAULTS.park, "its process has other code")
    plan = RunPlan.of(declaration, composer.arguments[message.kind], group, composer.registry, in_child=True)
    run = Run(delivery, plan, group, host, 0.0)
    run.deadline = task.deadline
    began, meter = time.monotonic(), ProcessMeter()
    outcome = run_blocking(run, lambda work: complete(runner.get_loop(), apart(work, _die)))
    run.usage = Usage(meter.cpu(), time.monotonic() - began, meter.peak())
    return settled_as(run, outcome, composer.rng)


def _die(why: str) -> NoReturn:
    """End this process: its worker finds out that it died during the run."""
    _logger.critical("the child process ends at once: %s", why)
    os._exit(FAILED)


if __name__ == "__main__":
    main()
