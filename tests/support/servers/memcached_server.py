"""A real Memcached of a test's own: started on a free port of this host, ended with the process."""

from __future__ import annotations

import atexit
import os
import pwd
import socket
import subprocess
import time
from functools import cache

__all__ = ["MemcachedServer", "shared_memcached"]

PATIENCE = 60.0
"""Seconds that a server may take to start."""


class MemcachedServer:
    """One server on a loopback port. options: of its program, such as ("-I", "2m")."""

    def __init__(self, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is; calls may take as long as the toolkit lets them."""
        return f"memcached://127.0.0.1:{self.port}?timeout=30"

    def start(self) -> None:
        """Start it, again after a stop, and wait until it answers."""
        user = pwd.getpwuid(os.getuid()).pw_name  # it refuses to run as root unless it is told to
        self.process = subprocess.Popen(
            ["memcached", "-u", user, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "2", *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("memcached did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, and wait for its end: nothing is left of its data."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, request: bytes, end: bytes) -> bytes:
        """Return what it says to a request in its own words, up to `end`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as link:
            link.sendall(request)
            said = b""
            while not said.endswith(end) and (more := link.recv(65536)):
                said += more
        return said

    def stats(self, *what: str) -> dict[str, str]:
        """Return the figures that it keeps of itself."""
        lines = self.ask(" ".join(("stats", *what)).encode() + b"\r\n", b"END\r\n").decode().splitlines()
        return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT "))

    def _answers(self) -> bool:
        try:
            return self.ask(b"mn\r\n", b"\r\n") == b"MN\r\n"
        except OSError:
            return False


@cache
def shared_memcached() -> MemcachedServer:
    """Return the one server of this test process, started on first use: each test has a namespace of its own."""
    server = MemcachedServer()
    server.start()
    atexit.register(server.stop)
    return server
