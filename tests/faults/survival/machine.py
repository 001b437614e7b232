"""The processes under test: supervisors with their workers, which can be killed, frozen and thawed as one machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import apsw
import psutil

from tests.faults.survival.ledger import Frozen, Killed, Ledger, Stopping, Thawed, now
from tests.faults.survival.names import LEDGER, ROLE

__all__ = ["Machine", "ROOT", "environment", "leases"]

ROOT: Final = Path(__file__).resolve().parents[3]
"""The folder that the modules of the proof are imported from."""
_STOPPED: Final = 5.0
_TRIES: Final = 200
_HEAD_START: Final = 0.3


def environment(db: Path, ledger: Path, *, role: str) -> dict[str, str]:
    """Return the environment of a process of the proof."""
    return {**os.environ, "OUTLAST_SURVIVAL_URL": f"sqlite:{db}", LEDGER: str(ledger), ROLE: role}


def leases(db: Path) -> dict[int, float]:
    """Return, by the pid of each worker that holds a lease which has not been seen lapsed, when it ends (monotonic)."""
    connection = apsw.Connection(str(db), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(5000)
        rows = connection.execute("select label, lease from holder where lapsed = 0").fetchall()
    finally:
        connection.close()
    ends: dict[int, float] = {}
    for label, lease in rows:
        _, colon, pid = str(label).rpartition(":")
        if colon and isinstance(lease, float):
            ends[int(pid)] = round(lease, 4)
    return ends


def _writable(db: Path) -> bool:
    """Tell whether somebody could write to the store now."""
    connection = apsw.Connection(str(db))
    try:
        connection.set_busy_timeout(200)
        connection.execute("begin immediate; rollback")
    except apsw.BusyError:
        return False
    finally:
        connection.close()
    return True


class Machine:
    """One supervisor and its workers. Isolated runs are children of the workers, and never killed by name."""

    def __init__(self, db: Path, ledger: Ledger, *, env: dict[str, str], processes: int, output: int) -> None:
        self._db = db
        self._ledger = ledger
        command = [sys.executable, "-m", "tests.faults.survival.supervise", str(processes)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        self.pid = self._process.pid

    def workers(self) -> list[int]:
        """The pids of its living worker processes: the supervisor starts no other."""
        return _family(self.pid, all_of_it=False)

    def kill_worker(self, rng: random.Random) -> bool:
        """Kill one of its workers, whatever it does; False when there is none. Raise when nothing is left to kill."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the supervisor gave up with code {self._process.returncode}: see output.txt")
        alive = self.workers()
        if not alive:
            return False
        victim = rng.choice(alive)
        at = now()
        os.kill(victim, signal.SIGKILL)
        self._ledger.write(Killed(t=at, scope="worker", workers=(victim,)))
        return True

    def kill(self) -> None:
        """Kill supervisor and workers together."""
        self._stop_supervisor()  # or it might start a worker between our look and our kill
        alive = self.workers()
        at = now()
        for pid in (self.pid, *alive):
            _signal(pid, signal.SIGKILL)
        self._process.wait()
        self._ledger.write(
            Killed(t=at, scope="machine", workers=tuple(alive), supervisor=self.pid, leases=leases(self._db))
        )

    def kill_supervisor(self) -> list[int]:
        """Kill the supervisor alone; its workers finish what they have, and leave. Return them."""
        self._stop_supervisor()
        alive = self.workers()
        at = now()
        _signal(self.pid, signal.SIGKILL)
        self._process.wait()
        self._ledger.write(Killed(t=at, scope="supervisor", workers=(), supervisor=self.pid, leases=leases(self._db)))
        return alive

    def freeze(self, rng: random.Random) -> list[int]:
        """Stop every process of it, none of them inside a transaction: the file's lock would stop with it."""
        for _ in range(_TRIES):
            self._stop_supervisor()
            at = now()
            stopped = self._signal_family(signal.SIGSTOP)
            if _writable(self._db):
                workers = self.workers()
                self._ledger.write(Frozen(t=at, workers=tuple(workers), supervisor=self.pid, leases=leases(self._db)))
                return stopped
            for pid in (*stopped, self.pid):
                _signal(pid, signal.SIGCONT)
            time.sleep(rng.uniform(0.005, 0.02))
        raise RuntimeError("the machine was always inside a transaction")

    def thaw(self, stopped: list[int]) -> None:
        """Let it go on: its workers first, so that they report before their supervisor can tell them what they lost."""
        at = now()
        workers = self.workers()
        for pid in stopped:
            _signal(pid, signal.SIGCONT)
        time.sleep(_HEAD_START)
        _signal(self.pid, signal.SIGCONT)
        self._ledger.write(Thawed(t=at, workers=tuple(workers), supervisor=self.pid))

    def stop(self) -> None:
        """Ask it to stop in peace."""
        self._ledger.write(Stopping(supervisor=self.pid))
        _signal(self.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Return its exit code; raise TimeoutExpired."""
        return self._process.wait(seconds)

    def end(self) -> None:
        """Kill what is left of it, for when a run has failed; nothing is written down."""
        if self._process.poll() is None:
            for pid in (self.pid, *_family(self.pid, all_of_it=True)):
                _signal(pid, signal.SIGKILL)
            self._process.wait()

    def _stop_supervisor(self) -> None:
        _signal(self.pid, signal.SIGSTOP)
        end = time.monotonic() + _STOPPED
        while self._process.poll() is None and psutil.Process(self.pid).status() != psutil.STATUS_STOPPED:
            if time.monotonic() > end:
                raise RuntimeError(f"process {self.pid} does not stop")
            time.sleep(0.001)

    def _signal_family(self, number: signal.Signals) -> list[int]:
        """Send a signal to all below the supervisor, and to what they start meanwhile; return their pids."""
        reached: list[int] = []
        while fresh := [pid for pid in _family(self.pid, all_of_it=True) if pid not in reached]:
            for pid in fresh:
                _signal(pid, number)
            reached += fresh
        return reached


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _family(pid: int, *, all_of_it: bool) -> list[int]:
    """Return the living children of a process, or all below it."""
    try:
        below = psutil.Process(pid).children(recursive=all_of_it)
        return [each.pid for each in below if each.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:  # one of them died under our eyes: look again
        return _family(pid, all_of_it=all_of_it) if psutil.pid_exists(pid) else []
