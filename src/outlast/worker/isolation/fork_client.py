"""The worker's side of the template process: asks for forks, and hears of their deaths."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections import deque

import msgspec

from outlast.aio.children import Child, kill_group
from outlast.aio.frames import read_frame
from outlast.worker.isolation.messages import (
    FORK,
    Forked,
    ForkEnded,
    ForkServerReady,
    IsolatedConfig,
    decode_of_template,
    encode,
)

__all__ = ["ForkedChild", "ForkServer"]

_logger = logging.getLogger("outlast.worker")


class ForkedChild:
    """A forked child, as `aio.children.Child` is a started one. pid: 0 until it is known."""

    def __init__(self) -> None:
        self.pid = 0
        self.code: int | None = None
        self.lost = False
        self.dead = asyncio.Event()
        self._condemned = False

    def kill(self) -> None:
        """Kill its process group, as soon as it has one."""
        self._condemned = True
        if self.pid:
            kill_group(self.pid)

    def born(self, pid: int) -> None:
        """Hear its pid."""
        self.pid = pid
        if self._condemned:
            kill_group(pid)

    def ended(self, code: int | None, *, lost: bool = False) -> None:
        """Hear of its death. lost: it died with its template, which says nothing about the job that it ran."""
        self.code = code
        self.lost = lost
        self.dead.set()


class ForkServer:
    """One template process. What is asked of it before it is up waits for that: no slower than a process of its own."""

    def __init__(self, target: str, main: str | None) -> None:
        """Start it; raise OSError."""
        self._sock, theirs = socket.socketpair()
        try:
            config = IsolatedConfig(target, theirs.fileno(), os.getpid(), main)
            command = [sys.executable, "-m", "outlast.worker.isolation.fork_server", encode(config).decode()]
            self.child = Child(command, fds=(theirs.fileno(),), own_session=False)
        except OSError:
            self._sock.close()
            raise
        finally:
            theirs.close()
        self.usable = True
        """False when it must not be forked, or is gone."""
        self._up = False
        self._early: list[socket.socket] = []
        self._unborn: deque[ForkedChild] = deque()
        self._forks: dict[int, ForkedChild] = {}
        self._task = asyncio.get_running_loop().create_task(self._live())

    def fork(self, line: socket.socket) -> ForkedChild | None:
        """Have a fork serve `line`, of which it gets a copy; None when there will be none."""
        if not self.usable:
            return None
        if self._up:
            try:
                socket.send_fds(self._sock, [FORK], [line.fileno()])
            except OSError:
                return None
        else:
            self._early.append(line.dup())
        fork = ForkedChild()
        self._unborn.append(fork)
        return fork

    async def close(self) -> None:
        """Kill it with its forks; return when it is gone."""
        self.usable = False
        kill_group(self.child.pid)
        await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection(sock=self._sock)
            while (frame := await read_frame(reader)) is not None:
                self._hear(decode_of_template(frame))
        except (msgspec.DecodeError, OSError) as error:
            _logger.error("a template process cannot be talked to and is killed: %s", error)  # noqa: TRY400
        finally:
            if self.usable:
                _logger.error("the process that jobs are forked from to run alone is gone")
            self.usable = False
            self._forget_early()
            for fork in (*self._unborn, *self._forks.values()):
                fork.kill()
                fork.ended(None, lost=True)
            kill_group(self.child.pid)
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            self._sock.close()
            await self.child.dead.wait()

    def _forget_early(self) -> None:
        for line in self._early:
            line.close()
        self._early.clear()

    def _hear(self, said: ForkServerReady | Forked | ForkEnded) -> None:
        match said:
            case ForkServerReady(""):
                self._up = True
                for line in self._early:
                    socket.send_fds(self._sock, [FORK], [line.fileno()])
                self._forget_early()
            case ForkServerReady(why):
                self.usable = False  # those that wait are given back when it has left, which it does now
                _logger.info("a job that must run alone needs a process that is started anew: %s", why)
            case Forked(0):
                self._unborn.popleft().ended(None, lost=True)
            case Forked(pid):
                fork = self._forks[pid] = self._unborn.popleft()
                fork.born(pid)
            case ForkEnded(pid, code):
                self._forks.pop(pid).ended(code)
