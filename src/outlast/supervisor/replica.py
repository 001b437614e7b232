"""Keeps one worker process running, and replaces it by a new one without a gap."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from outlast.aio.children import how_ended
from outlast.aio.tasks import ended_within
from outlast.core.message import Holder
from outlast.supervisor.process import COME_UP, ProcessExit, WorkerProcess

__all__ = ["ReplicaOwner", "WorkerReplica", "restart_delay"]

_logger = logging.getLogger("outlast.supervisor")

_HEALTHY: Final = 10.0
_DELAY_CAP: Final = 5.0


def restart_delay(short_runs: int) -> float:
    """Return the seconds to wait after so many short runs (under 10 s) in a row: 0, then 0.2 s, doubled up to 5 s."""
    return 0.0 if short_runs <= 0 else min(_DELAY_CAP, 0.1 * 2.0 ** min(short_runs, 16))


class ReplicaOwner(Protocol):
    """Starts worker processes and decides when to stop."""

    def over(self) -> bool:
        """Return whether it is stopping: no more processes are started."""
        ...

    def start_process(self) -> WorkerProcess:
        """Start a worker process; raise OSError."""
        ...

    def gives_up(self, ended: ProcessExit) -> bool:
        """Return whether to give up after a process has ended without a request."""
        ...


class WorkerReplica:
    """Has one worker process, two during a replacement: the old one drains as soon as the new one consumes."""

    def __init__(self, owner: ReplicaOwner) -> None:
        self.process: WorkerProcess | None = None
        self._owner = owner
        self._wanted = asyncio.Event()
        self._answer: asyncio.Future[str] | None = None

    async def replace(self) -> str:
        """Replace the process by a new one. Return "" when the new one consumes, else why the old one has stayed.

        For one caller at a time.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._wanted.set()
        return await self._answer

    async def run(self) -> None:
        """Start a process, and the next one when it has ended, until the owner is stopping or gives up."""
        short = 0
        while not self._owner.over():
            ended = await self._run_process()
            if self._owner.over() or self._owner.gives_up(ended):
                return
            _logger.error("worker process %d died (%s): the next one starts", ended.pid, how_ended(ended.code))
            short = short + 1 if ended.lived < _HEALTHY else 0
            await asyncio.sleep(restart_delay(short - 1))

    async def _run_process(self) -> ProcessExit:
        """Start a process; return how it, or the last one that replaced it, ended."""
        try:
            process = self.process = self._owner.start_process()
        except OSError as error:
            _logger.error("no worker process could be started: %s", error)  # noqa: TRY400
            return ProcessExit(Holder(""), 1, "", (), ready=False, lived=0.0)
        while True:
            await ended_within(None, self._wanted.wait(), asyncio.wait((process.ended,)))
            if self._wanted.is_set():
                process = self.process = await self._replaced(process)
            elif process.ended.done():
                return process.ended.result()

    async def _replaced(self, old: WorkerProcess) -> WorkerProcess:
        """Start a new process beside the old one; return the one to keep."""
        self._wanted.clear()
        current, why = old, ""
        try:
            new = self._owner.start_process()
        except OSError as error:
            why = str(error)
        else:
            if await new.came_up():
                old.replaced = True
                old.stop()
                current = new
            elif new.ended.done():
                why = how_ended(new.ended.result().code)
            else:
                why = f"not ready within {COME_UP:.0f} s"
                new.kill("forced")
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(why)
        return current
