"""One measurement of one system on Redis: each store is a server of its own, started for it and ended after it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks import environments
from benchmarks.measure import Bench, Figures
from benchmarks.processes import START, BenchError, Started, until
from benchmarks.redis_server import RedisServer

__all__ = ["RedisBench"]


class RedisBench(Bench):
    """One system in one folder of its own, on servers of its own."""

    def use(self, name: str) -> None:
        """Work on the server `name` from now on; it is started when it is not there."""
        super().use(name)
        self._name = name
        self._known: dict[str, RedisServer] = getattr(self, "_known", {})
        if self.system.node:
            self.env["NODE_PATH"] = str(environments.modules_of(self.system))
        if name in self._known:
            self._point()

    def _point(self) -> None:
        self.env["BENCH_REDIS"] = self.env["OUTLAST_URL"] = self._server.url

    @property
    def _server(self) -> RedisServer:
        return self._known[self._name]

    def fresh(self) -> None:
        """Start with a new server and an empty board."""
        if old := self._known.pop(self._name, None):
            old.stop()
        self._known[self._name] = RedisServer(self.folder)
        self._point()
        self.board.clear()

    def release(self) -> None:
        """End the servers."""
        while self._known:
            self._known.popitem()[1].stop()

    def server_cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        return self._server.cpu()

    def requests(self) -> int | None:
        """Return how many requests the server has read; each look at it is one."""
        self._looks = getattr(self, "_looks", 0) + 1
        return self._server.info("total_reads_processed") - self._looks

    def beside(self, jobs: int) -> Figures:
        """Nothing is synced here."""
        return {}

    def memory(self) -> Figures:
        """Bytes of the server's memory for a queued job."""
        self.fresh()
        jobs = self.scale.of(20_000)
        self.fill(100)
        before = self._server.info("used_memory")
        self.fill(jobs, 100)
        return {"jobs": jobs, "bytes": (self._server.info("used_memory") - before) / jobs}

    def two(self) -> Figures:
        """Drain by two worker processes and by one, both from when all are at work; how many cores were left to one."""
        jobs = 2 * self.scale.of(self.system.jobs)
        one, spare = self._by(1, jobs)
        two, _ = self._by(2, jobs)
        figures = {"one": one, "two": two, "ratio": two / one, "spare": spare}
        if self.system.peer:
            return figures
        self.env["BENCH_WORK"] = "0.001"
        try:
            jobs = self.scale.of(10_000)
            one, spare = self._by(1, jobs)
            two, _ = self._by(2, jobs)
        finally:
            del self.env["BENCH_WORK"]
        return {**figures, "worked one": one, "worked two": two, "worked ratio": two / one, "worked spare": spare}

    def _by(self, processes: int, jobs: int) -> tuple[float, float]:
        """Return the rate of so many worker processes, and the cores that nobody used meanwhile."""
        self.fresh()
        self.fill(jobs)
        last = int(jobs * 0.95)  # at the end some have nothing left
        commands = [self.worker(processes)] if self.system.spreads else [self.worker() for _ in range(processes)]
        started: list[Started] = []
        try:
            started += [command.__enter__() for command in commands]

            def at_work() -> bool:
                return self.board.processes() >= processes or self.board.count() >= last

            until(at_work, START, f"{self.system.name}: {processes} at work", 0.001)
            first, idle, since = self.board.count(), _idle(), time.monotonic()
            until(lambda: self.board.count() >= last, 300, f"{self.system.name}: {last} jobs")
            spare = (_idle() - idle) / (time.monotonic() - since)
        finally:
            for worker in started:
                worker.__exit__()
        starts = self.board.starts()
        if last - first < jobs / 4 and self.scale.strict:
            raise BenchError(f"{self.system.name}: {first} of {jobs} had run before {processes} were at work")
        first = min(max(first, 1), last - 1)
        return (last - first) / (starts[last - 1] - starts[first - 1]), spare

    def kill(self) -> Figures:
        """A job of 3 s; SIGKILL for all the worker's processes 1 s after it began, a new worker at once: again when?"""
        self.fresh()
        self.env["BENCH_NAP"] = "3"
        try:
            self.produce("single", 1, 0)
            with self.worker() as first:
                until(lambda: self.board.count() > 0, START, f"{self.system.name}: first job", 0.02)
                time.sleep(1)
                first.kill()
            killed = time.monotonic()
            with self.worker() as second:

                def again() -> bool:
                    second.alive()
                    return self.board.count() > 1 or time.monotonic() > killed + self.scale.patience

                until(again, self.scale.patience + 60, self.system.name, 0.02)
                came = self.board.starts()
            if self.board.count() > 1:
                return {"after": came[0] - killed, "waited": self.scale.patience}
            return {"waited": self.scale.patience}
        finally:
            del self.env["BENCH_NAP"]


def _idle() -> float:
    """Return the seconds in which a core had nothing to do, in sum over all cores."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
