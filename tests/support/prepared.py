"""Programs that begin with the libraries loaded: their import is four fifths of what a short command costs.

One process for each process of the tests loads them, `python -m tests.support.prepared DESCRIPTOR`, and forks itself
for each program. Nothing of Outlast is loaded there: a program imports it as it does when it starts on its own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

__all__ = ["Program", "ended", "run", "start"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_LIBRARIES: Final = (
    *("apsw", "asyncio", "concurrent.futures.thread", "cronsim", "hiredis", "importlib.metadata", "logging.config"),
    *("msgspec.inspect", "msgspec.json", "msgspec.msgpack", "multiprocessing.connection", "pydantic.json_schema"),
    *("pydantic.main", "pydantic.types", "rich.console", "rich.markdown", "rich.table", "ssl", "statistics", "typer"),
    *("typer._adapters", "typer.completion", "typer.rich_utils", "zoneinfo"),
)
"""What to load before; what is missing here, each program loads."""
_READ_BY_PYTHON: Final = ("PYTHON", "LANG", "LC_", "TZ")
"""How the variables begin that Python or the C library reads once."""
_NUMBER: Final = struct.Struct("q")


class Program:
    """A program that was started, its process a grandchild of the one with the libraries."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self.pid: int = _NUMBER.unpack(os.read(answers, _NUMBER.size))[0]

    def wait(self, timeout: float) -> int:
        """Return its exit code, negative for a signal; raise TimeoutExpired after so many seconds."""
        if not select.select([self._answers], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        code: int = _NUMBER.unpack(os.read(self._answers, _NUMBER.size))[0]
        os.close(self._answers)
        return code

    def kill(self) -> None:
        """Kill it; it must not have ended."""
        os.kill(self.pid, signal.SIGKILL)


def run(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `python -W error -m MODULE WORDS...` to its end, which must come within 90 s, its output into files."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err, Path(os.devnull).open() as null:
        program = start(words, cwd=cwd, env=env, streams=(null.fileno(), out.fileno(), err.fileno()))
        code = ended(program)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(words), code, out.read(), err.read())


def ended(program: Program | subprocess.Popen[bytes]) -> int:
    """Return the exit code of what must end by itself within 90 s; else kill it and raise TimeoutExpired."""
    try:
        return program.wait(90)
    except subprocess.TimeoutExpired:
        program.kill()
        raise


def start(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: tuple[int, int, int]
) -> Program | subprocess.Popen[bytes]:
    """Run `python -W error -m MODULE WORDS...` on these standard streams.

    On its own where the interpreter itself would start otherwise with this environment.
    """
    requests, known = _prepared()
    if _start_of_python(env) != known:
        stdin, stdout, stderr = streams
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", *words], cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr
        )
    ours, theirs = os.pipe()
    with TemporaryFile() as request:
        request.write(json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode())
        request.seek(0)
        socket.send_fds(requests, [b"x"], [request.fileno(), *streams, theirs])
    os.close(theirs)
    return Program(ours)


def _start_of_python(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_BY_PYTHON)}


@cache
def _prepared() -> tuple[socket.socket, dict[str, str]]:
    """Return where the one process reads its requests, and which variables it started with; it ends with this one."""
    env = {**os.environ, "PYTHONPATH": str(_ROOT)}
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.support.prepared", str(theirs.fileno())],
            cwd=_ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours, _start_of_python(env)


def _next_program(requests: socket.socket) -> tuple[int, ...]:
    """Fork for each request; return its descriptors in the process that is to run the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers are reaped by the kernel
    while True:
        data, descriptors, *_ = socket.recv_fds(requests, 1, 5)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            *given, answers = descriptors
            _keep(answers, given)
            return tuple(given)
        for each in descriptors:
            os.close(each)


def _keep(answers: int, given: Sequence[int]) -> None:
    """Return in a child, the program; tell its number and its exit code here."""
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        return
    for each in given:
        os.close(each)
    os.write(answers, _NUMBER.pack(pid))
    os.write(answers, _NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    os._exit(0)


def _become(request: int, *streams: int) -> None:
    """Run the program in this process, as if it had been started so."""
    with os.fdopen(request, encoding="utf-8") as file:
        asked: dict[str, Any] = json.load(file)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]
    for number, (stream, name) in enumerate(zip(streams, ("stdin", "stdout", "stderr"), strict=True)):
        os.dup2(stream, number)
        os.close(stream)
        # A file object remembers whether its descriptor is a terminal, and whether it can be sought in.
        old, mode, lines = getattr(sys, name), "w" if number else "r", 1 if name == "stderr" else -1
        anew = os.fdopen(number, mode, lines, encoding=old.encoding, errors=old.errors, closefd=False)
        setattr(sys, name, anew)
        setattr(sys, f"__{name}__", anew)
    module, *sys.argv[1:] = asked["words"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for library in _LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
    _become(*_next_program(socket.socket(fileno=int(sys.argv[1]))))
