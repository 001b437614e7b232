"""A Redis server of the benchmark's own: on a free loopback port, nothing kept on disk, ended with the measurement."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

from benchmarks.processes import BenchError, Started, cpu, until

__all__ = ["RedisServer", "facts"]

OPTIONS = ("--save", "", "--appendonly", "no")


def facts() -> str:
    """Return the version of the server that is installed, and how it is started."""
    program = shutil.which("redis-server")
    if program is None:
        return "not installed"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{next(word[2:] for word in said.split() if word.startswith('v='))} {shlex.join(OPTIONS)}"


class RedisServer:
    """One running server. Ask it with `info`; it costs `cpu` seconds. program: by default that of the system."""

    def __init__(self, folder: Path, program: str = "") -> None:
        program = program or shutil.which("redis-server") or ""
        if not program:
            raise BenchError("redis-server is not installed")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        argv = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), *OPTIONS]
        self._process = Started(argv, os.environ, folder / "redis.log")
        self._process.__enter__()
        until(self._answers, 20, "redis-server")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _answers(self) -> bool:
        self._process.alive()
        try:
            return self._ask("PING").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, command: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as link:
            link.sendall(f"{command}\r\nQUIT\r\n".encode())
            answer = b""
            while more := link.recv(65536):
                answer += more
        return answer

    def info(self, field: str) -> int:
        """Return one number of INFO."""
        for line in self._ask("INFO").decode().splitlines():
            if line.startswith(field + ":"):
                return int(line.partition(":")[2])
        raise BenchError(f"redis-server: INFO has no {field}")

    def cpu(self) -> float:
        """Return the CPU seconds that it has used."""
        return cpu(self._process.pids())

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.__exit__()
