"""Runs the tests of an area in forks of one process, each with one fault in place of the sound code.

The tests are collected once, and run once to see which functions, statements and scripts each of them enters. A fault
is given to those that enter what it changes: first those that noticed other faults of its file, then the quickest.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mutation.copies import LATE
from mutation.faults import ROOT, Fault
from mutation.in_place import Place, change, record

__all__ = ["Sifter"]

MEMORY = 4 << 30
"""Bytes that a forked process may take: a loop without an end may collect things."""


class Sifter:
    """Runs the faults after the collection, in place of the tests. A plugin of pytest.

    sample: numbers, faults and their lines for the report. chosen: tells whether a test is one of the area's. patience:
    seconds that the tests of one fault may take. longest: seconds of the processor above which a test is left out.
    """

    def __init__(
        self, sample: list[tuple[int, Fault, str]], chosen: Callable[[str], bool], *, patience: int, longest: float
    ) -> None:
        self.sample = sample
        self.chosen = chosen
        self.patience = patience
        self.longest = longest
        self.seconds: dict[str, float] = {}
        """By test, those of the processor in the run without a fault."""
        self.entered: dict[str, set[Place]] = {}
        """By test, what it enters."""
        self.noticed: dict[Path, Counter[str]] = {}
        """By file, how many of its faults a test has noticed first."""
        self.failed = ""
        self.said = ""
        """What the last forked process printed."""
        self.answer = -1
        self.texts = {fault.path: (ROOT / fault.path).read_text() for _, fault, _ in sample}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the tests of other stores."""
        kept = [item for item in items if self.chosen(item.nodeid)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the first test that fails."""
        if report.failed and not self.failed:
            self.failed = report.nodeid
            print(report.longreprtext, flush=True)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests once without a fault, then each fault."""
        measured = json.loads(self._forked(lambda: self._measure(session)) or '{"failed": "a test ended the process"}')
        if "failed" in measured:
            pytest.exit(f"{self.said[-3000:]}without a fault {measured['failed']} fails")
        for test, (seconds, entered) in measured.items():
            if seconds <= self.longest:
                self.seconds[test] = seconds
                self.entered[test] = {(file, name) for file, name in entered}
        undecided: list[str] = []
        late: list[str] = []
        for number, fault, shown in self.sample:
            began = time.monotonic()
            answer = self._fault(session, fault)
            mark = ""
            if not answer or answer.startswith("?"):
                mark = "UNDECIDED "
                undecided.append(f"{number:4} {shown}  {answer}")
            elif answer.startswith(LATE):
                late.append(f"{number:4} {shown}  {answer}")
            else:
                self.noticed.setdefault(fault.path, Counter())[answer] += 1
            print(f"{number:4} {time.monotonic() - began:5.0f}s {mark}{shown}  {answer}", flush=True)
        print(f"{len(undecided)} of {len(self.sample)} undecided", *undecided, sep="\n", flush=True)
        print(f"{len(late)} were noticed by nothing but the time", *late, sep="\n", flush=True)
        return True

    def _measure(self, session: pytest.Session) -> str:
        """Run all tests; return for each the seconds of the processor, and what it entered."""
        found: dict[str, tuple[float, list[Place]]] = {}
        entered: set[Place] = set()
        record(entered)
        for n, item in enumerate(session.items):
            entered.clear()
            began = time.process_time()
            self._test(session.items, n)
            found[item.nodeid] = (time.process_time() - began, sorted(entered.copy()))
            if self.failed:
                return json.dumps({"failed": self.failed})
        sys.setprofile(None)
        threading.setprofile(None)
        return json.dumps(found)

    def _test(self, items: list[pytest.Item], n: int) -> None:
        item = items[n]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=items[n + 1] if n + 1 < len(items) else None)

    def _fault(self, session: pytest.Session, fault: Fault) -> str:
        """Return what noticed the fault, "" for nothing, or "?" and why it cannot be told here."""
        found = change(fault, self.texts[fault.path])
        if isinstance(found, str):
            return found
        places, put = found
        items = [item for item in session.items if self.entered.get(item.nodeid, set()) & places]
        before = self.noticed.get(fault.path, Counter())
        items.sort(key=lambda item: (-before[item.nodeid], self.seconds[item.nodeid]))

        def run() -> str:
            if why := put():
                return why
            for n, item in enumerate(items):
                self._limit(item)
                self._test(items, n)
                for each in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                    signal.setitimer(each, 0)
                if self.failed:
                    return self.failed
            return ""

        answer = self._forked(run)
        return "? the process ended" if answer is None else answer or ("" if items else "? no test enters it")

    def _limit(self, item: pytest.Item) -> None:
        """Let the test take a multiple of its sound time: more by the clock, so that a busy machine ends none."""
        most = 5 + 20 * self.seconds[item.nodeid]

        def stop(*_: object) -> None:
            os.write(self.answer, f"={LATE}{item.nodeid}".encode())
            atexit._run_exitfuncs()
            os._exit(0)

        for timer, number, factor in (
            (signal.ITIMER_PROF, signal.SIGPROF, 1),
            (signal.ITIMER_REAL, signal.SIGALRM, 6),
        ):
            signal.signal(number, stop)
            signal.setitimer(timer, most * factor)

    def _forked(self, run: Callable[[], str]) -> str | None:
        """Return the answer of `run` in a copy of this process, None when it gave none."""
        with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as output:
            sys.stdout.flush()
            child = os.fork()
            if not child:
                self.answer = answer.fileno()
                try:
                    os.setsid()
                    # What tests start, servers above all, ends with the copy; what this process has started does not.
                    atexit._clear()
                    for number in (1, 2):
                        os.dup2(output.fileno(), number)
                    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                    os.write(self.answer, f"={run()}".encode())
                    atexit._run_exitfuncs()
                finally:
                    os._exit(0)
            deadline = time.monotonic() + self.patience
            late = False
            while os.waitpid(child, os.WNOHANG)[0] == 0:
                if late := time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    break
                time.sleep(0.01)
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            answer.seek(0)
            output.seek(0)
            self.said = output.read().decode(errors="replace")
            found = answer.read().decode()
            return f"{LATE}no answer in {self.patience} s" if late else found[1:] if found else None
