"""Start, kill and stop the processes of one demo run, by their pid; each has a log file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["NotReady", "DemoProcess", "listening"]


class NotReady(Exception):
    """A process ended or did not listen in time; the message contains the end of its log."""


class DemoProcess:
    """A process of the demo: `python -m <arguments>` in the run's directory. environ: additional variables."""

    def __init__(
        self, name: str, arguments: Sequence[str], directory: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *arguments]
        self._directory = directory
        self._environ = {**os.environ, **(environ or {})}
        self._log = directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the running process, None when it does not run."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    async def start(self, *, port: int | None = None, deadline: float = 30.0) -> None:
        """Start the process; with `port`, return when it listens there, or raise NotReady after `deadline` seconds."""
        with self._log.open("ab") as log:
            # A new session: Ctrl-C reaches only the orchestrator, which then stops the processes in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._directory,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if port is None:
            return
        try:
            async with asyncio.timeout(deadline):
                while not listening(port):
                    if self._process.returncode is not None:
                        raise NotReady(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotReady(f"{self.name} did not listen on port {port} in {deadline:.0f} s:\n{self.tail()}") from None

    async def kill(self) -> int | None:
        """Kill the process with SIGKILL; return its pid, None when it did not run."""
        pid = self.pid
        if self._process is not None and pid is not None:
            self._process.kill()
            await self._process.wait()
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; do nothing when the process does not run."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    async def wait(self) -> int | None:
        """Return the exit code of the process when it has ended by itself."""
        return None if self._process is None else await self._process.wait()

    async def stop(self, grace: float = 20.0) -> int | None:
        """Stop the process with SIGTERM, kill it after `grace` seconds; return its exit code."""
        if self._process is None:
            return None
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(grace):
                    await self._process.wait()
            except TimeoutError:
                # The whole group: a supervisor that hangs must not leave its workers running.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        return self._process.returncode

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def listening(port: int) -> bool:
    """Tell whether a process accepts connections on loopback port `port`."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
