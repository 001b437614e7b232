"""One environment for each peer under OUTLAST_BENCH_HOME (~/.cache/outlast-bench), made when first needed.

Virtual environments, and node_modules for what runs on Node.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import BenchError
from benchmarks.system import System

__all__ = ["HOME", "make", "modules_of", "python_of", "versions"]

HOME = Path(os.environ.get("OUTLAST_BENCH_HOME") or Path.home() / ".cache" / "outlast-bench")


def _served() -> tuple[str, ...]:
    """Return the web packages, at the versions of our own environment, for the rows over HTTP."""
    return tuple(f"{name}=={version(name)}" for name in ("fastapi", "uvicorn", "uvloop"))


def python_of(system: System) -> str:
    """Return the interpreter that runs this system; make its environment if it is not there."""
    if system.node:
        modules_of(system)
        return shutil.which("node") or "node"
    if not system.packages:
        return sys.executable
    served = _served() if system.store == "sqlite" else ()
    folder = make(system.name, (*system.packages, *served))
    if system.patch:
        (file,) = folder.glob(f"lib/python*/site-packages/{system.patch.file}")
        raw = file.read_bytes()
        if system.patch.new not in raw:
            if raw.count(system.patch.old) != 1 or len(system.patch.old) != len(system.patch.new):
                raise BenchError(f"{system.name}: {system.patch.file} is not as it was when the patch was written")
            file.write_bytes(raw.replace(system.patch.old, system.patch.new))
    return str(folder / "bin" / "python")


def make(name: str, packages: Sequence[str]) -> Path:
    """Make the environment `name` with these packages, or find it complete."""
    folder = HOME / "venv" / name
    stamp = folder / "packages"
    if stamp.exists() and stamp.read_text().split() == list(packages):
        return folder
    print(f"installing {' '.join(packages)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    python = str(folder / "bin" / "python")
    if uv := shutil.which("uv"):
        _run([uv, "venv", "-q", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "-q", "--python", python, *packages])
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages])
    stamp.write_text("\n".join(packages))
    return folder


def modules_of(system: System) -> Path:
    """Return the node_modules of this system; install them if they are not there."""
    folder = HOME / "node" / system.name
    stamp = folder / "packages"
    if not (stamp.exists() and stamp.read_text().split() == list(system.packages)):
        for program in ("node", "npm"):
            if not shutil.which(program):
                raise BenchError(f"{system.name}: {program} is not installed")
        print(f"installing {' '.join(system.packages)}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", *system.packages], folder)
        stamp.write_text("\n".join(system.packages))
    return folder / "node_modules"


def _run(argv: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{Path(argv[0]).name} {' '.join(argv[1:3])}: {done.stderr[-1000:]}")


def versions(system: System, python: str) -> dict[str, str]:
    """Return the installed versions of what this system is made of."""
    if system.node:
        names = [package.rpartition("@")[0] for package in system.packages]
        modules = modules_of(system)
        found = {name: json.loads((modules / name / "package.json").read_text())["version"] for name in names}
        node = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return {**found, "Node": node.removeprefix("v")}
    packages = system.packages or ("outlast", "apsw", "uvloop")
    names = [package.split("==")[0].split("[")[0] for package in packages]
    code = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions
