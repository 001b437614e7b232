"""Runs the tests of an area on copies of the project, each with one fault at a time in its files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from mutation.faults import PACKAGE, ROOT, Fault

__all__ = ["LATE", "Copy"]

LONGEST = 900
"""Seconds after which one run of the tests is stopped."""

LATE = "too late: "
"""How an answer begins when a test, or all of them, did not end in time."""


class Copy:
    """A copy of the project, in which one fault at a time stands."""

    def __init__(self, folder: Path, patience: int) -> None:
        self.folder = folder
        self.patience = patience
        self._written = 1_000_000_000
        for name in ("src", "tests", "docs", "benchmarks", "scripts"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        if (ROOT / ".servers").is_dir():
            (folder / ".servers").symlink_to(ROOT / ".servers")
        # An environment of its own: a test that sets PYTHONPATH for its processes would run the sound code in them.
        self._python = folder / ".venv/bin/python"
        venv.EnvBuilder(symlinks=True).create(folder / ".venv")
        (packages,) = (folder / ".venv/lib").glob("*/site-packages")
        (packages / "copy.pth").write_text(f"{folder / 'src'}\n{sysconfig.get_path('purelib')}\n")

    def check(self, tests: tuple[str, ...]) -> None:
        """Run the tests without a fault: what fails then would notice nothing."""
        for step in tests:
            if "{near}" not in step and (found := self._fails(step)):
                sys.exit(f"without a fault {found} fails")

    def noticed(self, fault: Fault, tests: tuple[str, ...]) -> str:
        """Return the name of the first test that fails with the fault, "" if none does, `LATE` if it did not end."""
        target = self.folder / fault.path
        sound = target.read_text()
        changed = sound[: fault.start] + fault.new + sound[fault.end :]
        if target.suffix == ".py":
            try:
                compile(changed, str(target), "exec")
            except SyntaxError as error:
                return f"no Python: {error}"
        self._write(target, changed)
        try:
            for step in tests:
                if "{near}" in step and not (step := self._near(fault)):
                    continue
                if found := self._fails(step):
                    return found
        finally:
            self._write(target, sound)
        return ""

    def _near(self, fault: Fault) -> str:
        """Return the unit tests beside the file that import its module, that of its name first."""
        module = re.compile(rf"outlast\.{'.'.join(fault.path.relative_to(PACKAGE).with_suffix('').parts)}\b")
        folder = self.folder / "tests/unit" / fault.path.relative_to(PACKAGE).parts[0]
        found = [path for path in folder.glob("**/test_*.py") if module.search(path.read_text())]
        found.sort(key=lambda path: (path.stem != f"test_{fault.path.stem}", path))
        return " ".join(str(path.relative_to(self.folder)) for path in found)

    def _write(self, target: Path, text: str) -> None:
        """Write a file, with a time of its own: by time and size Python finds compiled code of another text."""
        target.write_text(text)
        self._written += 1
        os.utime(target, (self._written, self._written))

    def _fails(self, tests: str) -> str:
        options = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--timeout", str(self.patience)]
        options += ["-o", "addopts=--import-mode=importlib"]
        paths, _, chosen = tests.partition(" -k ")
        command = [str(self._python), "-m", "pytest", *options, *paths.split(), *(("-k", chosen) if chosen else ())]
        variables = {**os.environ, "HYPOTHESIS_PROFILE": "faults"}
        if "redis" in tests:  # an app tells of a variable that it does not know, and a test counts its lines
            variables["OUTLAST_TEST_REDIS_SERVER"] = shutil.which("redis-server") or ""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"{LATE}the tests did not end in {LONGEST} s"
        if process.returncode in (0, 5):
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)|^(E  .*)", out, re.MULTILINE)
        late = LATE if re.search(r"Timeout \(?>", out) else ""
        return late + ((failed[1] or failed[2]) if failed else f"exit {process.returncode}")
