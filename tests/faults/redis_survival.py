"""Kills workers and the Redis under them at random moments while jobs come and run, and judges by the ledger.

`python -m tests.faults.redis_survival [always|everysec] [JOBS] [KILLS] [RESTARTS] [SEED]`
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from outlast import EnqueueUnknown, Outlast, Settings, StoreUnavailable
from tests.support.faults_app import app as declared
from tests.support.faults_app import brief
from tests.support.ledger import Entry, Ledger
from tests.support.redis_fleet import Node, node
from tests.support.supervise import Supervised, supervised

__all__ = ["Orders", "Verdict", "survive"]

IDLE = 5.0
"""Seconds without anybody at work after which no more blows are struck, when all jobs were enqueued."""
URL = "?timeout=1&connect_timeout=1"


@dataclass(frozen=True)
class Orders:
    """What is done. kills: of one worker each; restarts: kill -9 of Redis, back within 2 s. gap: seconds, about."""

    jobs: int
    kills: int
    restarts: int
    fsync: str = "always"
    seed: int = 1
    gap: float = 0.7


@dataclass
class Verdict:
    """What the ledger says. again: seconds from Redis being back to the next start of a job, each time."""

    accepted: int = 0
    kills: int = 0
    restarts: int = 0
    repeated: int = 0
    """Enqueues that were repeated, with the same ids, until they were answered."""
    lost: list[str] = field(default_factory=list)
    dead: int = 0
    left: int = 0
    second_starts: int = 0
    unattributed: list[str] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.dead or self.left or self.unattributed)

    def __str__(self) -> str:
        waits = sorted(self.again) or [0.0]
        return (
            f"{self.kills} kills, {self.restarts} restarts; "
            f"{self.accepted:,} jobs accepted ({self.repeated} enqueues repeated), {len(self.lost)} lost, "
            f"{self.dead} dead, {self.left} left; {self.second_starts:,} second starts, {len(self.unattributed)} "
            f"unattributed; at work again {waits[len(waits) // 2]:.2f} s after Redis is back (median; most "
            f"{waits[-1]:.2f} s, of {len(self.again)})"
        )


class Drill:
    """One run: a producer in this process, a supervisor with three workers, and blows from a seed."""

    def __init__(self, orders: Orders, folder: Path, server: Node) -> None:
        self.orders = orders
        self.server = server
        self.ledger = Ledger(folder / "ledger")
        self.log = folder / "log"
        self.rng = random.Random(orders.seed)
        self.app = Outlast("faults", settings=Settings(url=server.url + URL))
        for declaration in declared.registry.declarations.values():
            self.app.registry.add(declaration)
        self.accepted: set[str] = set()
        self.repeated = 0
        self.killed: dict[int, float] = {}
        self.workers: set[int] = set()
        self.back: list[float] = []
        self.kills = 0
        self._begun: set[int] = set()
        self._read = 0

    async def run(self) -> Verdict:
        """Do all that is ordered, wait until all have ended, and judge."""
        environ = {
            "OUTLAST_FAULTS_URL": self.server.url + URL,
            "OUTLAST_TEST_LEDGER": str(self.ledger.path),
        }
        self.ledger.path.touch()
        with supervised("tests.support.faults_app:app", environ, self.log, processes=3, concurrency=50) as running:
            producing = asyncio.create_task(self._produce())
            try:
                await self._strike(running)
            finally:
                await producing
            left = await self._quiet()
        await self.app.close()
        return self._judge(*left)

    async def _produce(self) -> None:
        number = 0
        while number < self.orders.jobs:
            size = min(self.rng.choice((1, 20, 100, 300)), self.orders.jobs - number)
            names = [f"job-{n}" for n in range(number, number + size)]
            number += size
            messages = [brief.message(name, round(self.rng.uniform(0.005, 0.15), 3)) for name in names]
            while True:
                try:
                    await self.app.enqueue_many(messages)
                except (StoreUnavailable, EnqueueUnknown):
                    self.repeated += 1
                    await asyncio.sleep(0.05)
                else:
                    break
            self.accepted.update(names)
            pause = size / self.orders.jobs * self.orders.gap * (self.orders.kills + self.orders.restarts)
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * pause * 1.2)

    async def _strike(self, running: Supervised) -> None:
        blows = ["kill"] * self.orders.kills + ["restart"] * self.orders.restarts
        self.rng.shuffle(blows)
        for number, blow in enumerate(blows, 1):
            await asyncio.sleep(self.rng.uniform(0.3, 1.7) * self.orders.gap)
            waited = time.monotonic()
            while not (pids := self._at_work(running)):
                if len(self.accepted) == self.orders.jobs and time.monotonic() > waited + IDLE:
                    return  # all is done, and who has come since has nothing to do
                if running.process.poll() is not None:
                    raise RuntimeError(f"the supervisor gave up: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)
            if blow == "kill":
                victim = self.rng.choice(pids)
                self._note(victim)
                self.kills += 1
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            else:
                await asyncio.to_thread(self.server.kill)
                await asyncio.sleep(self.rng.uniform(0, 1.5))
                await asyncio.to_thread(self.server.start)
                self.back.append(time.monotonic())
            if number % 50 == 0:
                print(f"{number} of {len(blows)} blows, {len(self.accepted):,} jobs", file=sys.stderr)

    def _note(self, victim: int) -> None:
        """Write down who dies: a worker, and with it the children in which jobs run alone, if a moment later."""
        below: list[int] = []
        with suppress(psutil.NoSuchProcess):
            below = [each.pid for each in psutil.Process(victim).children(recursive=True)]
        at = time.monotonic()
        self.killed.update(dict.fromkeys((victim, *below), at))

    def _at_work(self, running: Supervised) -> list[int]:
        """Return the workers that have begun a job: who dies before that, again and again, is given up for broken."""
        with self.ledger.path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        self._read += len(fresh)
        self.workers.update(pids := running.workers())
        self._begun.update(int(line.split()[2]) for line in fresh.splitlines())
        return [pid for pid in pids if pid in self._begun]

    async def _quiet(self) -> tuple[int, int]:
        """Wait until nothing is left; return how many jobs are left, and dead, at last."""
        store = (await self.app.runtime()).store
        end = time.monotonic() + 120
        while True:
            stats = (await store.stats(["default"]))["default"]
            if not stats.depth or time.monotonic() > end:
                return stats.depth, stats.dead
            await asyncio.sleep(0.1)

    def _judge(self, left: int, dead: int) -> Verdict:
        verdict = Verdict(
            kills=self.kills,
            restarts=len(self.back),
            accepted=len(self.accepted),
            repeated=self.repeated,
            left=left,
            dead=dead,
        )
        verdict.lost = sorted(self.accepted - set(self.ledger.names("end")))
        starts: dict[str, list[Entry]] = {}
        for entry in self.ledger.read("start"):
            starts.setdefault(entry.name, []).append(entry)
        deaths = sorted(set(self.killed.values()))
        for name, runs in starts.items():
            for before, after in pairwise(runs):
                verdict.second_starts += 1
                explained = self.killed.get(before.pid, after.at) < after.at
                if before.pid not in self.workers and not explained:  # alone, in a child begun since we looked
                    explained = bisect_right(deaths, before.at) < bisect_right(deaths, after.at)
                if not explained:
                    verdict.unattributed.append(f"{name}: {before} and then {after}")
        at = sorted(entry.at for entry in self.ledger.read("start"))
        for back in self.back:
            later = bisect_right(at, back)
            if later < len(at):
                verdict.again.append(at[later] - back)
        return verdict


async def survive(orders: Orders, folder: Path) -> Verdict:
    """Do all that is ordered in `folder`; return what came of it."""
    options: dict[str, Any] = {"appendonly": "yes", "appendfsync": orders.fsync}
    with node(folder / "redis", **options) as server:
        return await Drill(orders, folder, server).run()


def main(words: list[str]) -> int:
    """Run it as the command line says; exit code 0 when it holds."""
    fsync, jobs, kills, restarts, seed = [*words, *("always", "50000", "300", "20", "1")[len(words) :]][:5]
    orders = Orders(int(jobs), int(kills), int(restarts), fsync, int(seed))
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        verdict = asyncio.run(survive(orders, Path(folder)))
    print(f"{orders}: {verdict}; {time.monotonic() - began:.0f} s in all")
    for each in [*verdict.lost[:20], *verdict.unattributed[:20]]:
        print(each)
    return int(not verdict.holds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
