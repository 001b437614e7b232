"""One measurement of one system, for each row: fresh file, start, count, stop. Returns plain figures."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import counter, machine
from benchmarks.environments import python_of
from benchmarks.processes import START, BenchError, Started, ask, cpu, peak, resident, until
from benchmarks.produce import percentiles
from benchmarks.system import System

__all__ = ["Bench", "Figures", "Scale", "import_time"]

Figures = dict[str, Any]
CAPACITY = 1_200_000
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scale:
    """How much of each: `part` of the jobs of systems.py, `seconds` of paced and idle measurements.

    strict: a backlog that did not last is an error. patience: seconds in which a killed worker's job may come back.
    """

    part: float = 1.0
    seconds: float = 5.0
    deep: int = 1_000_000
    shallow: int = 20_000
    strict: bool = True
    patience: float = 90.0

    def of(self, jobs: int) -> int:
        """Return a number of jobs to this scale."""
        return max(20, int(jobs * self.part))


class Bench:
    """One system in one folder of its own."""

    def __init__(self, system: System, folder: Path, scale: Scale) -> None:
        self.system = system
        self.scale = scale
        self.folder = folder / system.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.python = python_of(system)
        self.board = counter.create(self.folder / "board", CAPACITY)
        self.use("jobs")

    def use(self, name: str) -> None:
        """Work on the store `name` from now on."""
        self.store = self.folder / f"{name}.db"
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("OUTLAST_", "PYTHON"))}
        self.env = {
            **keep,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            "BENCH_COUNTER": str(self.folder / "board"),
            "BENCH_STORE": str(self.store),
            "OUTLAST_URL": f"sqlite:{self.store}",
            **self.system.env,
        }

    def fresh(self) -> None:
        """Start with an empty store and an empty board."""
        for path in self.folder.glob(f"{self.store.stem}.db*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.board.clear()

    def release(self) -> None:
        """Let go of what a measurement has left."""

    def server_cpu(self) -> float:
        """Return the CPU seconds that the store's server has used."""
        return 0.0

    def produce(self, mode: str, *numbers: int) -> Figures:
        """Run the producer in the system's environment."""
        program = [self.system.module] if self.system.node else ["-m", "benchmarks.produce", self.system.module]
        return ask([self.python, *program, mode, *map(str, numbers)], self.env)

    def fill(self, jobs: int, first: int = 0) -> Figures:
        """Enqueue a backlog by the fastest way there is."""
        if self.system.bulk:
            return self.produce("bulk", jobs, self.system.bulk, first)
        return self.produce("single", jobs, first)

    def worker(self, processes: int = 1) -> Started:
        """Return the worker command, not yet started."""
        return Started(self.system.worker(self.python, processes), self.env, self.folder / "worker.log")

    # Rows

    def single(self) -> Figures:
        """Enqueue one by one."""
        self.fresh()
        return _rate(self.produce("single", self.scale.of(self.system.singles), 0))

    def gather(self) -> Figures:
        """Enqueue from 50 coroutines."""
        self.fresh()
        jobs = self.scale.of(self.system.singles) * (1 if self.system.peer else 4)
        return _rate(self.produce("gather", jobs, 50))

    def bulk(self) -> Figures:
        """Enqueue in bulk."""
        if not self.system.bulk:
            return {}
        self.fresh()
        return _rate(self.fill(self.scale.of(self.system.jobs)))

    def http(self) -> Figures:
        """Enqueue over HTTP, from 50 connections of another process."""
        self.fresh()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        argv = [self.python, "-m", "benchmarks.serve", self.system.service or self.system.module, port]
        with Started(argv, self.env, self.folder / "serve.log") as server:

            def listening() -> bool:
                server.alive()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", int(port))) == 0

            until(listening, 30, f"{self.system.name} over HTTP", every=0.05)
            load = [sys.executable, "-m", "benchmarks.http_load", port]
            ask([*load, "50", "50"], self.env)
            return _rate(ask([*load, str(self.scale.of(self.system.singles)), "50"], self.env))

    def drain(self) -> Figures:
        """Drain a backlog by one worker process."""
        self.fresh()
        jobs = self.scale.of(self.system.jobs)
        self.fill(jobs)
        return self._drain(jobs, all_of=jobs)

    def _drain(self, jobs: int, *, all_of: int | None = None) -> Figures:
        """Start a worker and time its first `jobs` jobs; `all_of` waiting ones must each run exactly once."""
        with self.worker() as worker:

            def ran(count: int) -> bool:
                worker.alive()
                return self.board.count() >= count

            until(lambda: ran(1), START, f"{self.system.name}: first job")
            before, server, seen = cpu(worker.pids()), self.server_cpu(), self.board.count()
            until(lambda: ran(jobs), 300, f"{self.system.name}: {jobs} jobs")
            pids = worker.pids()
            used, served, count = cpu(pids) - before, self.server_cpu() - server, self.board.count()
            memory = peak(pids)
        starts = self.board.starts()
        if all_of is not None and (len(starts), self.board.count()) != (all_of, all_of):
            raise BenchError(
                f"{self.system.name}: {all_of} waited, {len(starts)} ran, {self.board.count()} times in all"
            )
        span = starts[jobs - 1] - starts[0]
        return {
            "jobs": jobs,
            "rate": (jobs - 1) / span,
            "cpu": (used + served) / max(1, count - seen) * 1000,
            "server cpu": served / max(1, count - seen) * 1000,
            "rss": sum(memory),
            "processes": [round(each, 1) for each in memory],
        }

    def flood(self, jobs: int) -> Figures:
        """Drain the first so many of a backlog that is there already."""
        return self._drain(jobs)

    def latency(self) -> Figures:
        """200 jobs a second from another process to an idle worker; and what a sync of this disk takes meanwhile."""
        self.fresh()
        jobs = int(200 * self.scale.seconds)
        self.fill(0)
        with self.worker() as worker:
            self._ready(worker)
            figures = self.produce("paced", jobs, 200, 1)
            until(lambda: self.board.count() > jobs, 30, f"{self.system.name}: {jobs} paced jobs")
            beside = self.beside(jobs)
        return {**percentiles(self.board.delays()), "behind": figures["behind"], **beside}

    def beside(self, jobs: int) -> Figures:
        """Return what the machine needs for the same, measured at once after a latency."""
        return {"fdatasync": machine.syncs(self.folder, jobs // 2, 200)}

    def _ready(self, worker: Started) -> None:
        """Wait until the worker has run a first job, number 0, and is idle again."""
        self.produce("single", 1, 0)

        def ran() -> bool:
            worker.alive()
            return self.board.count() > 0

        until(ran, START, f"{self.system.name}: first job")
        time.sleep(1)

    def busy(self, processes: int = 4) -> Figures:
        """How long one enqueue takes while so many worker processes drain, and how fast they drain meanwhile."""
        self.fresh()
        backlog = self.scale.of(self.system.backlog)
        self.fill(backlog)
        jobs = int(200 * self.scale.seconds * 0.6)
        commands = [self.worker(processes)] if self.system.spreads else [self.worker() for _ in range(processes)]
        started: list[Started] = []
        try:
            started += [command.__enter__() for command in commands]
            until(lambda: self.board.count() > 0, START, f"{self.system.name}: first job", 0.001)
            # One process of a system that claims all that waits keeps the other three idle.
            with contextlib.suppress(BenchError):
                until(lambda: self.board.processes() >= processes, 2, "all at work", 0.001)
            before, since = self.board.count(), time.monotonic()
            figures = self.produce("paced", jobs, 200, backlog)
            drained, seconds = self.board.count() - before, time.monotonic() - since
        finally:
            for worker in started:
                worker.__exit__()
        if self.scale.strict and drained >= backlog - before:
            raise BenchError(f"{self.system.name}: a backlog of {backlog} did not outlast the measurement")
        return {**figures["call"], "drained": drained, "rate": drained / seconds}

    def idle(self) -> Figures:
        """A worker with nothing to do."""
        self.fresh()
        self.fill(0)
        with self.worker() as worker:
            self._ready(worker)
            time.sleep(1)
            pids = worker.pids()
            asked, before, since = self.requests(), cpu(pids), time.monotonic()
            time.sleep(self.scale.seconds * 2)
            passed = time.monotonic() - since
            share, now = (cpu(pids) - before) / passed * 100, self.requests()
            memory = resident(pids)
        figures = {"cpu": share, "rss": max(memory), "processes": [round(each, 1) for each in memory]}
        return figures if asked is None or now is None else {**figures, "requests": (now - asked) / passed}

    def requests(self) -> int | None:
        """Return how many requests the store's server has read, these calls left out; None without a server."""
        return None

    def deep(self) -> list[Figures]:
        """CPU and rate of the first jobs with many waiting beside as many jobs with only those waiting.

        Both stores first run as many jobs unmeasured, so that both have the same records behind them.
        """
        shallow, waiting = self.scale.shallow, self.scale.deep
        self.use("deep")
        self.fresh()
        self.fill(waiting)
        self._drain(shallow)
        self.use("shallow")
        self.fresh()
        self.fill(shallow)
        self._drain(shallow)
        samples = []
        for _ in range(3):
            self.use("shallow")
            self.board.clear()
            self.fill(shallow)
            few = self._drain(shallow)
            self.use("deep")
            self.board.clear()
            many = self._drain(shallow)
            samples.append({"few": few["rate"], "few cpu": few["cpu"], "many": many["rate"], "many cpu": many["cpu"]})
        for name in ("deep", "shallow"):
            self.use(name)
            self.fresh()
        self.use("jobs")
        return samples


def _rate(figures: Figures) -> Figures:
    return {**figures, "rate": figures["jobs"] / figures["seconds"]}


DECLARE = "from outlast import Outlast\n@Outlast('bench').job(queue='mail')\nasync def send(order_id: int) -> None: ..."


def import_time(repeats: int) -> list[Figures]:
    """Milliseconds that `import outlast` and one declared job take beyond the interpreter's own start."""

    def run(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (time.perf_counter() - start) * 1000

    run(DECLARE)
    return [{"ms": run(DECLARE) - run("pass")} for _ in range(repeats)]
