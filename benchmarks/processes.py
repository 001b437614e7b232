"""Start the systems' processes and look at them through /proc: CPU seconds, resident memory, the whole tree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["START", "BenchError", "Started", "ask", "cpu", "peak", "resident", "until"]

START = 300.0
"""Seconds in which a worker must begin, on a machine that does other work too."""
TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A system did not do what was asked of it; the text holds the end of its output."""


@dataclass(frozen=True)
class _Stat:
    parent: int
    session: int
    cpu: float


def _stat(pid: int) -> _Stat | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return _Stat(int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])) / TICK)


def _numbers() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _status(pid: int, field: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":")), 0.0)


def cpu(pids: Sequence[int]) -> float:
    """Return the CPU seconds, user and system, that these processes and their reaped children have used."""
    return sum(stat.cpu for pid in pids if (stat := _stat(pid)))


def peak(pids: Sequence[int]) -> list[float]:
    """Return the highest resident memory of each process in MB; shared pages count in each."""
    return [_status(pid, "VmHWM") for pid in pids]


def resident(pids: Sequence[int]) -> list[float]:
    """Return the resident memory of each process now, in MB."""
    return [_status(pid, "VmRSS") for pid in pids]


def until(done: Callable[[], bool], seconds: float, what: str, every: float = 0.005) -> None:
    """Wait until done(), looking `every` seconds. Raise BenchError after `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


@dataclass
class Started:
    """One started command with its own session, so that all its processes are found and ended."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path

    def __enter__(self) -> Started:
        self._file = self.log.open("ab")
        self._process = subprocess.Popen(
            self.argv,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """SIGTERM, and SIGKILL for what is left after 10 s."""
        family = self.pids()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in family:
            # A child in a session of its own is still known by its parent, which it has lost by now.
            if (stat := _stat(pid)) and (stat.session == self._process.pid or stat.parent == 1):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._file.close()

    def pids(self) -> list[int]:
        """Return the command's process, all processes of its session and all its descendants."""
        stats = {pid: stat for pid in _numbers() if (stat := _stat(pid))}
        root = self._process.pid
        found = {pid for pid, stat in stats.items() if pid == root or stat.session == root}
        while more := {pid for pid, stat in stats.items() if stat.parent in found} - found:
            found |= more
        return sorted(found)

    def kill(self) -> None:
        """SIGKILL for all its processes at once."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def alive(self) -> None:
        """Raise BenchError if the command has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.argv[1:4]} ended with {self._process.returncode}: {self.output()}")

    def output(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-1500:]


def ask(argv: Sequence[str], env: Mapping[str, str], seconds: float = 600) -> dict[str, Any]:
    """Run a command to its end and return the figures after RESULT in its output."""
    done = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            figures: dict[str, Any] = json.loads(line[7:])
            return figures
    raise BenchError(f"{argv[1:6]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
