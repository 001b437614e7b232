"""A place for one worker process: kept taken, and given to a fresh process without a gap."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from outlast.aio.children import how_ended
from outlast.core.message import Holder
from outlast.supervisor.process import ProcessExit, WorkerProcess

__all__ = ["COME_UP", "ReplicaOwner", "StartedProcess", "WorkerReplica", "restart_delay"]

_logger = logging.getLogger("outlast.supervisor")

COME_UP: Final = 120.0
"""Seconds that a fresh worker has until it consumes; after that it is sent away, and the old one stays."""
_HEALTHY: Final = 10.0
_DELAY_CAP: Final = 5.0


def restart_delay(short_lives: int) -> float:
    """Return the seconds to wait after so many lives in a row that ended within 10 s: 0, then 0.2 s doubling to 5 s."""
    return 0.0 if short_lives <= 0 else min(_DELAY_CAP, 0.1 * 2.0 ** min(short_lives, 16))


class StartedProcess:
    """A worker process under way. `ended` gets its death."""

    def __init__(self, process: WorkerProcess, ended: asyncio.Future[ProcessExit]) -> None:
        self.process = process
        self.ended = ended

    async def came_up(self) -> bool:
        """Wait until it consumes, is dead, or COME_UP seconds have passed; tell whether it consumes."""
        up = asyncio.ensure_future(self.process.up.wait())
        try:
            await asyncio.wait((up, self.ended), timeout=COME_UP, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        return self.process.ready and not self.ended.done()


class ReplicaOwner(Protocol):
    """Who starts workers and says when it is over."""

    def over(self) -> bool:
        """Whether no more are wanted."""
        ...

    def begin(self) -> StartedProcess:
        """Start a worker process; raise OSError."""
        ...

    def hopeless(self, death: ProcessExit) -> bool:
        """Tell whether to give up after this death, which nobody asked for."""
        ...


class WorkerReplica:
    """Has one worker alive at a time, two while it changes: the old one drains when the fresh one consumes."""

    def __init__(self, crew: ReplicaOwner) -> None:
        self.life: StartedProcess | None = None
        self._crew = crew
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[str] | None = None

    async def change(self) -> str:
        """Give the place to a fresh process. Return "" when it consumes, else why the old one has stayed.

        For one caller at a time.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._asked.set()
        return await self._answer

    async def run(self) -> None:
        """Start a worker, and the next one when it has died, until it is over or hopeless."""
        short = 0
        while not self._crew.over():
            death = await self._sit()
            if self._crew.over() or self._crew.hopeless(death):
                return
            _logger.error("a worker process died (%s): the next one starts", how_ended(death.code))
            short = short + 1 if death.lived < _HEALTHY else 0
            await asyncio.sleep(restart_delay(short - 1))

    async def _sit(self) -> ProcessExit:
        """Start a worker; return the death of whoever sits here then."""
        try:
            life = self.life = self._crew.begin()
        except OSError as error:
            _logger.error("no worker process could be started: %s", error)  # noqa: TRY400
            return ProcessExit(Holder(""), 1, "", (), ready=False, lived=0.0)
        while True:
            asked = asyncio.ensure_future(self._asked.wait())
            try:
                await asyncio.wait((life.ended, asked), return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
            if self._asked.is_set():
                life = self.life = await self._changed(life)
            elif life.ended.done():
                return life.ended.result()

    async def _changed(self, old: StartedProcess) -> StartedProcess:
        """Start a fresh worker beside the old one; return whoever sits here from now on."""
        self._asked.clear()
        sitting, why = old, ""
        try:
            fresh = self._crew.begin()
        except OSError as error:
            why = str(error)
        else:
            if await fresh.came_up():
                old.process.halt()
                sitting = fresh
            elif fresh.ended.done():
                why = how_ended(fresh.ended.result().code)
            else:
                why = f"not ready within {COME_UP:.0f} s"
                fresh.process.kill("forced")
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(why)
        return sitting
