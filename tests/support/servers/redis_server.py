"""A real Redis server of a test's own: started on a free port of this host, ended with the process."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import hiredis

from tests.support.servers.redis_acl import PASSWORD, USER, setuser
from tests.support.servers.redis_programs import program

__all__ = ["SHARED", "RedisServer", "shared_server"]

PATIENCE = 60.0
"""Seconds that a server may take to start."""
SHARED: list[int] = []
"""The ports of the servers that the tests of this process share."""


class RedisServer:
    """One server in a folder of its own, on a loopback port and a socket. aof: kept on disk, with this appendfsync.

    server: its program, by default that of the suite.
    """

    def __init__(self, *, aof: str | None = None, options: tuple[str, ...] = (), server: str = "") -> None:
        self.program = server or program()
        self.folder = Path(tempfile.mkdtemp(prefix="outlast-redis-"))
        self.socket = self.folder / "s"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._aof = aof
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def users_url(self) -> str:
        """Where it is, for the user of docs/redis.md: see `permit`."""
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{self.port}/0"

    def permit(self) -> None:
        """Make that user known, for all namespaces."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as link:
            link.sendall(hiredis.pack_command(tuple(setuser("*"))))  # type: ignore[arg-type]
            answer = link.recv(1024)
        assert answer == b"+OK\r\n", answer

    def start(self) -> None:
        """Start it, again after a stop, and wait until it answers."""
        kept = ("--appendonly", "yes", "--appendfsync", self._aof) if self._aof else ("--appendonly", "no")
        self.process = subprocess.Popen(
            [
                self.program,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)),
                *("--dir", str(self.folder), "--save", "", "--daemonize", "no", "--loglevel", "warning"),
                *kept,
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.program} did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        """Kill it, and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@cache
def shared_server(program: str = "") -> RedisServer:
    """Return the one server of this test process, started on first use: each test has a namespace of its own.

    program: the one of this program instead.
    """
    server = RedisServer(server=program)
    server.start()
    server.permit()
    SHARED.append(server.port)
    atexit.register(server.remove)
    return server
