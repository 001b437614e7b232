"""A pytest plugin of scripts/mutate: collects the tests once, and runs them in a forked process for each fault.

The process of the plugin imports and collects, which takes longer than most faults live. For each request it forks. The
child puts the changed file in place of what is loaded: Lua and SQL are read on first use, which is after the fork; of a
Python module the code of its functions is exchanged. Requests and answers are lines of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TextIO

import pytest

FIRST_OF_A_KIND = 3
"""How many of the parameters of a test that has noticed other faults run before all other tests."""


def functions(owner: ModuleType | type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions that a module or a class defines, each with its path."""
    name = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for key, value in list(vars(owner).items()):
        of = [getattr(value, each, None) for each in ("__func__", "__wrapped__", "fget")]
        for found in (value, *of):
            if isinstance(found, FunctionType) and found.__module__ == name:
                yield key, found
        if isinstance(value, type) and value.__module__ == name:
            yield from ((f"{key}.{path}", found) for path, found in functions(value))


def run_again(module: ModuleType) -> ModuleType:
    """Return a second module, made of the file that the module has now."""
    fresh = ModuleType(module.__name__)
    fresh.__dict__.update({name: vars(module)[name] for name in ("__file__", "__package__", "__spec__")})
    exec(compile(Path(str(module.__file__)).read_bytes(), str(module.__file__), "exec"), fresh.__dict__)
    return fresh


def exchange(module: ModuleType) -> bool:
    """Give the functions of a loaded module the code of its file; return whether one of them has changed."""
    fresh = run_again(module)
    now, changed = dict(functions(fresh)), False
    for name, function in functions(module):
        if name in now and function.__code__.co_filename == module.__file__:
            new = now[name]
            changed |= function.__code__ != new.__code__ or function.__defaults__ != new.__defaults__
            function.__code__, function.__defaults__ = new.__code__, new.__defaults__
            function.__kwdefaults__ = new.__kwdefaults__
    return changed


def read_again(folder: Path) -> None:
    """Give the modules in this folder what they have read from other files: the collection has read these before."""
    for name, module in list(sys.modules.items()):
        if name.startswith("outlast."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    for module in list(sys.modules.values()):
        if Path(getattr(module, "__file__", None) or "/").parent == folder:
            for name, value in vars(run_again(module)).items():
                if type(value).__name__ == "Script":
                    setattr(module, name, value)


class Server:
    """Answers requests with the first test that fails."""

    def __init__(self, requests: TextIO, answers: TextIO, steps: list[tuple[str, str]], longest: float) -> None:
        self._requests, self._answers, self._steps, self._longest = requests, answers, steps, longest
        self._noticed: Counter[str] = Counter()
        self._pipe: TextIO | None = None
        """Where the child tells its first failure."""

    def step(self, item: pytest.Item) -> int:
        """Return the number of the last step that a test belongs to; one that is in none has the number past all."""
        for number, (paths, word) in reversed(list(enumerate(self._steps))):
            if item.nodeid.startswith(tuple(paths.split())) and word in item.nodeid:
                return number
        return len(self._steps)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of the steps, in the order of the steps."""
        items[:] = sorted((item for item in items if self.step(item) < len(self._steps)), key=self.step)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Answer each request; in the child go on with the tests."""
        gc.freeze()
        print("collected", file=self._answers, flush=True)
        for line in self._requests:
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.setsid()
                os.close(reading)
                self._pipe = os.fdopen(writing, "w")
                return self._prepare(session, json.loads(line))
            os.close(writing)
            self._wait(child)
            with os.fdopen(reading) as told:
                answer = json.loads(told.readline() or '{"by": "the tests did not end"}')
            self._noticed[answer["by"].split("[")[0]] += 1
            print(json.dumps(answer), file=self._answers, flush=True)
        return True

    def _wait(self, child: int) -> None:
        ends = time.monotonic() + self._longest
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > ends:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return
            time.sleep(0.02)

    def _prepare(self, session: pytest.Session, request: dict[str, Any]) -> bool | None:
        path = Path(request["path"])
        if path.suffix == ".py":
            name = ".".join(path.with_suffix("").parts[path.parts.index("outlast") :])
            if name in sys.modules and not exchange(sys.modules[name]):
                self._tell({"by": "", "not exchanged": True})
                return True
        else:
            read_again(path.parents[1])
        seen: Counter[str] = Counter()

        def order(item: pytest.Item) -> tuple[int, int]:
            test = item.nodeid.split("[")[0]
            seen[test] += 1
            return self.step(item), -self._noticed[test] if seen[test] <= FIRST_OF_A_KIND else 0

        session.items.sort(key=order)
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell the first failure."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr)[-200:]
            self._tell({"by": report.nodeid, "why": " ".join(why.split())[:200]})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Tell that no test has failed."""
        self._tell({"by": "" if exitstatus == 0 else f"exit {exitstatus}"})

    def _tell(self, answer: dict[str, Any]) -> None:
        if self._pipe is not None:
            print(json.dumps(answer), file=self._pipe, flush=True)
            self._pipe.close()
            self._pipe = None


def pytest_configure(config: pytest.Config) -> None:
    """Register the server that the environment describes."""
    given = json.loads(os.environ["OUTLAST_MUTATE"])
    requests, answers = os.fdopen(given["requests"]), os.fdopen(given["answers"], "w")
    config.pluginmanager.register(Server(requests, answers, given["steps"], given["longest"]))
