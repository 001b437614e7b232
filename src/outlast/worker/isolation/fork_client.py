"""The worker's side of the fork server: requests forks and records their ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque

import msgspec

from outlast.aio.children import Child, kill_group
from outlast.aio.frames import read_frame
from outlast.worker.app_source import AppSource
from outlast.worker.isolation.messages import (
    FORK,
    Forked,
    ForkEnded,
    ForkServerMessage,
    ForkServerReady,
    IsolatedConfig,
    decode_fork_server,
    encode,
)

__all__ = ["ForkedChild", "ForkServer"]

_logger = logging.getLogger("outlast.worker")


class ForkedChild:
    """A forked child process, with the interface of `aio.children.Child`. pid: 0 until it is known."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pid = 0
        self.code: int | None = None
        self.lost = False
        self.dead = asyncio.Event()
        self._killed = False

    def kill(self) -> None:
        """Kill its process group, as soon as its pid is known."""
        self._killed = True
        if self.pid:
            kill_group(self.pid)

    def forked(self, pid: int) -> None:
        """Record its pid."""
        self.pid = pid
        if self._killed:
            kill_group(pid)

    def ended(self, code: int | None, *, lost: bool = False) -> None:
        """Record its end. lost: the fork server ended first, so the cause is unknown."""
        self.code = code
        self.lost = lost
        self.dead.set()


class ForkServer:
    """One fork server. Requests before it is up wait: that is no slower than starting a process."""

    def __init__(self, source: AppSource) -> None:
        """Start it; raise OSError."""
        self.child = Child(
            "outlast.worker.isolation.fork_server",
            lambda fd: encode(IsolatedConfig(source, fd, os.getpid())),
        )
        self.usable = True
        """False when it must not be forked, or has ended."""
        self._up = False
        self._unsent: list[socket.socket] = []
        self._pending: deque[ForkedChild] = deque()
        self._forks: dict[int, ForkedChild] = {}
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def fork(self) -> ForkedChild | None:
        """Request a fork; return None when the server cannot make one. Raise OSError."""
        if not self.usable:
            return None
        sock, child_sock = socket.socketpair()
        self._unsent.append(child_sock)
        if self._up:
            try:
                self._send_sockets()
            except OSError:
                sock.close()
                return None
        fork = ForkedChild(sock)
        self._pending.append(fork)
        return fork

    async def close(self) -> None:
        """Kill it with its forks; return when it has ended."""
        self.usable = False
        kill_group(self.child.pid)
        await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection(sock=self.child.sock)
            while (frame := await read_frame(reader)) is not None:
                self._handle(decode_fork_server(frame))
        except (msgspec.DecodeError, OSError) as error:
            _logger.error("the connection to the fork server failed, it is killed: %s", error)  # noqa: TRY400
        finally:
            if self.usable:
                _logger.error("the fork server ended: the jobs that run alone in its forks are released")
            self.usable = False
            self._close_sockets()
            for fork in (*self._pending, *self._forks.values()):
                fork.kill()
                fork.ended(None, lost=True)
            kill_group(self.child.pid)
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            self.child.sock.close()
            await self.child.dead.wait()

    def _send_sockets(self) -> None:
        """Send the sockets of the requested forks."""
        try:
            for sock in self._unsent:
                socket.send_fds(self.child.sock, [FORK], [sock.fileno()])
        finally:
            self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self._unsent:
            sock.close()
        self._unsent.clear()

    def _handle(self, message: ForkServerMessage) -> None:
        match message:
            case ForkServerReady(""):
                self._up = True
                self._send_sockets()
            case ForkServerReady(why):
                self.usable = False  # it ends now, and the waiting jobs are released
                _logger.info("jobs that run alone are started in new processes, without a fork: %s", why)
            case Forked(0):
                self._pending.popleft().ended(None, lost=True)
            case Forked(pid):
                fork = self._forks[pid] = self._pending.popleft()
                fork.forked(pid)
            case ForkEnded(pid, code):
                self._forks.pop(pid).ended(code)
