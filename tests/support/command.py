"""The `outlast` command as a user runs it: in a project's folder, as a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support import prepared
from tests.support.family import end_all, family_of

__all__ = ["ROOT", "Project", "Ran", "Running"]

ROOT = Path(__file__).resolve().parents[2]
PLAIN = """from outlast import Outlast
from tests.support.apps.cli_app import declare

shop = Outlast("shop")
jobs = declare(shop)
"""


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that it printed."""
        return json.loads(self.out)


class Running:
    """A command that goes on until it is told to stop, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self._everyone = psutil.Process(process.pid)

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """It and everything below it."""
        return family_of(self._everyone)

    def kill(self) -> None:
        """Kill whatever is left of it."""
        end_all(self.process, self._everyone)

    def interrupt(self) -> None:
        """Press Ctrl-C, which reaches everybody in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)


class Project:
    """A folder with a pyproject.toml and a main.py; the store is beside them unless OUTLAST_URL says otherwise."""

    def __init__(self, folder: Path, main: str = PLAIN) -> None:
        self.folder = folder
        self.file = folder / "outlast.db"
        self.url = f"sqlite:{self.file}"
        (folder / "pyproject.toml").touch()
        self.write("main.py", main)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / name).write_text(text)

    def _environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OUTLAST", "NO_COLOR"))}
        return {**kept, "PYTHONPATH": str(ROOT), **extra}

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
        """Run a command to its end, its output into files."""
        done = prepared.run(["outlast", *arguments], cwd=cwd or self.folder, env=self._environ(env or {}))
        return Ran(done.returncode, done.stdout, done.stderr)

    def run_on_terminal(
        self, *arguments: str, columns: int = 100, answer: str = "", env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run a command to its end on a terminal of this width; what it prints is all in `out`."""
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        process = prepared.start(
            ["outlast", *arguments],
            cwd=self.folder,
            env=self._environ({"TERM": "xterm-256color", "COLUMNS": str(columns), **(env or {})}),
            streams=(theirs, theirs, theirs),
        )
        os.close(theirs)
        said = b""
        with suppress(OSError):  # Linux says so when the last process has let go of the terminal
            while part := os.read(ours, 65536):
                said += part
        os.close(ours)
        return Ran(prepared.ended(process), said.decode().replace("\r\n", "\n"), "")

    @contextmanager
    def running(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
        """Run a command within the block; whatever of it is left at the end is killed."""
        log = self.folder / "command.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "outlast", *arguments],
                cwd=self.folder,
                # A .pyc is known by second and size: a test changes a file faster than that.
                env=self._environ({"PYTHONDONTWRITEBYTECODE": "1", **(env or {})}),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                process_group=0,
            )
        running = Running(process, log)
        try:
            yield running
        finally:
            running.kill()
