"""Measure the toolkit beside the libraries for the same: the rows of `--only toolkit`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.figures import Measured, Run
from benchmarks.processes import BenchError, ask
from benchmarks.redis_server import RedisServer
from benchmarks.toolkit_systems import OURS, TOOLKITS, ToolkitSystem

__all__ = ["NAME", "measured", "versions"]

NAME = "toolkit"
SECONDS = 0.4
"""Of the calls of one case, one at a time and again 32 at a time."""
PROCESSES = 4
MISSES = 1_000
"""Calls that miss one key at once, of all processes together."""
LONGEST = 60.0
"""Seconds after which a stampede is given up."""
ROOT = Path(__file__).resolve().parent.parent


def _program() -> str:
    """Return the newest Redis that `scripts/servers` has installed, else that of the system."""
    own = ROOT / ".servers" / "redis-8.2" / "server"
    return str(own) if own.exists() else shutil.which("redis-server") or "redis-server"


def _systems(*, peers: bool) -> list[ToolkitSystem]:
    return [system for system in TOOLKITS if peers or system.name == OURS]


@cache
def _python(system: ToolkitSystem) -> str:
    """Return the interpreter of a library; make its environment if it is not there."""
    if not system.packages:
        return sys.executable
    web = (f"starlette=={version('starlette')}",) if system.web else ()
    return str(environments.make(f"toolkit-{system.name}", (*system.packages, *web)) / "bin" / "python")


def _env() -> Mapping[str, str]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("OUTLAST_", "PYTHON"))}
    return {**keep, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}


def measured(run: Run, *, peers: bool, errors: list[str]) -> Measured:
    """Return the samples by library, one of each turn; the libraries take turns, each in a process of its own."""
    samples: dict[str, list[dict[str, Any]]] = {}
    broken: set[str] = set()
    for turn in range(run.pairs):
        for system in _systems(peers=peers):
            if system.name in broken:
                continue
            try:
                samples.setdefault(system.name, []).append(_turn(system, min(1.0, run.part)))
            except (BenchError, subprocess.SubprocessError, OSError) as error:
                broken.add(system.name)
                errors.append(f"toolkit: {system.name}")  # the text names files of this machine
                print(f"FAILED toolkit: {system.name}", error, file=sys.stderr, flush=True)
        print(f"{time.strftime('%H:%M:%S')} toolkit, turn {turn + 1} of {run.pairs}", file=sys.stderr, flush=True)
    return Measured(run, samples)


def _turn(system: ToolkitSystem, part: float) -> dict[str, Any]:
    """Return the figures of one process of a library, on a Redis and in a folder of its own."""
    python = _python(system)
    folder = Path(tempfile.mkdtemp(prefix="toolkit-", dir=environments.HOME))
    try:
        server = RedisServer(folder, _program())
        try:
            command = [python, "-m", "benchmarks.toolkit_calls", system.module, server.url, str(folder)]
            found = ask([*command, str(max(0.01, SECONDS * part))], _env())
            if system.measures_stampede:
                found |= _stampede(command, folder, max(40, int(MISSES * part)))
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _stampede(command: list[str], folder: Path, misses: int) -> dict[str, float]:
    """Let several processes miss one key at once; return how often it was computed, and the time of the last caller."""
    (folder / "computed").unlink(missing_ok=True)
    argv = [*command, "0", str(misses // PROCESSES)]
    started = [
        subprocess.Popen(argv, env=_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(PROCESSES)
    ]
    try:
        for each in started:
            if not each.stdout or each.stdout.readline() != b"READY\n":
                raise BenchError(f"{command[2:4]}: a process of the stampede did not begin")
        before = (folder / "computed").stat().st_size
        said = _answers(started)
    finally:
        for each in started:
            each.kill()
            each.communicate()
    if said is None:
        return {"stampede, waited": LONGEST}
    computed = (folder / "computed").stat().st_size - before
    return {
        "stampede, computed": computed,
        "stampede, seconds": max(each["seconds"] for each in said),
        "stampede, failed": sum(each["failed"] for each in said),
        "stampede, misses": misses,
    }


def _answers(started: list[subprocess.Popen[bytes]]) -> list[dict[str, float]] | None:
    """Let them begin; return the figures of each, None if one is not ready in time."""
    for each in started:
        assert each.stdin is not None
        each.stdin.write(b"\n")
        each.stdin.flush()
    found: list[dict[str, float]] = []
    end = time.monotonic() + LONGEST
    for each in started:
        try:
            out, _ = each.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None
        if not out.startswith(b"RESULT "):
            raise BenchError(f"a process of the stampede ended with {each.returncode}: {out[-500:]!r}")
        found.append(json.loads(out[7:]))
    return found


def versions(*, peers: bool) -> dict[str, str]:
    """Return the installed versions of the libraries, of the clients that they use, and of the server."""
    found = {"redis-server": _server_version()}
    for system in _systems(peers=peers):
        if not system.packages:
            continue
        names = [each.split("==")[0].split("[")[0] for each in system.packages]
        code = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
        done = subprocess.run([_python(system), "-c", code], capture_output=True, text=True, check=False)
        if not done.returncode:
            own: dict[str, str] = json.loads(done.stdout)
            found |= {f"{system.name}: {name}" if name != names[0] else name: each for name, each in own.items()}
    return found


def _server_version() -> str:
    done = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=False)
    return next((word[2:] for word in done.stdout.split() if word.startswith("v=")), "unknown")
