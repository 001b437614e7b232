"""Kills workers and the Redis under them at random moments while jobs come and run, and judges by the ledger.

`python -m tests.faults.proofs.redis_survival [always|everysec] [JOBS] [KILLS] [RESTARTS] [SEED] [GAP]`
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from outlast import EnqueueUnknown, Settings, StoreUnavailable
from tests.faults.kill.app import app as declared
from tests.faults.kill.app import traced
from tests.faults.redis.judge import Accepted, Evidence, Kill, Orders, Outage, Span, Verdict, judge
from tests.support.origin import origin
from tests.support.servers.redis_fleet import Node, node
from tests.support.stage import Stage
from tests.support.supervise import Supervised

__all__ = ["Orders", "Verdict", "survive"]

WORKERS: Final = 4
"""Processes: one that died young comes back after up to 5 s, and somebody must be there to be killed."""
IDLE: Final = 10.0
"""Seconds without anybody in mid run after which no more blows are struck, when all jobs were enqueued."""
LEFT: Final = 120.0
"""Seconds that jobs have at the end to come to their end."""
URL: Final = "?timeout=1&connect_timeout=1"


class Drill(Stage):
    """One run: a producer in this process, a supervisor with workers, and blows from a seed."""

    def __init__(self, orders: Orders, folder: Path, server: Node) -> None:
        url = server.url + URL
        super().__init__(
            declared,
            "tests.faults.kill.app:app",
            folder,
            Settings(url=url, enqueue_timeout=60),
            {"OUTLAST_FAULTS_URL": url},
        )
        self.orders = orders
        self.server = server
        self.accepted: dict[str, Accepted] = {}
        self.repeated = 0
        self.kills: list[Kill] = []
        self.outages: list[Outage] = []
        self.unmanned: list[Span] = []
        self._struck = 0
        self._more = asyncio.Event()
        """Set when a blow waits for work, and when Redis has gone or come back: a batch is wanted at once."""
        self._read = 0
        self._running: dict[str, int] = {}
        """By job in mid run: its process."""
        self._ended = 0

    async def run(self) -> Verdict:
        """Do all that is ordered, wait until all have ended, and judge."""
        with self.start(processes=WORKERS, concurrency=50) as running:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(running))
                producing = group.create_task(self._produce())
                await self._strike(running)
                await producing
                left, dead = await self._quiet()
                watching.cancel()
            ended = time.monotonic()
        await self.app.close()
        return judge(
            Evidence(
                orders=self.orders,
                entries=self.ledger.read(),
                accepted=self.accepted,
                ended=ended,
                kills=self.kills,
                outages=self.outages,
                unmanned=self.unmanned,
                repeated=self.repeated,
                left=left,
                dead=dead,
            )
        )

    async def _produce(self) -> None:
        """Enqueue in batches, spread over the blows: what is due after the last one is kept until then."""
        rng = random.Random(f"produce {self.orders.seed}")
        blows = self.orders.kills + self.orders.restarts
        share = self.orders.jobs / (blows + 1)
        number = 0
        while number < self.orders.jobs:
            size = min(rng.choice((1, 5, 20, 50)), self.orders.jobs - number)
            names = [f"job-{n}" for n in range(number, number + size)]
            number += size
            await self._enqueue([traced.message(name, round(rng.uniform(0.05, 0.6), 3)) for name in names], names)
            wait: float | None = rng.uniform(0.3, 1.3) * size / share * self.orders.gap
            while wait is not None or (self._struck < blows and number >= share * (self._struck + 1)):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._more.wait(), wait if wait is not None else 0.05)
                    self._more.clear()
                    break
                wait = None

    async def _enqueue(self, messages: list[Any], names: list[str]) -> None:
        while True:
            asked = time.monotonic()
            try:
                await self.app.enqueue_many(messages)
            except (StoreUnavailable, EnqueueUnknown):
                self.repeated += 1
                await asyncio.sleep(0.05)
            else:
                self.accepted.update(dict.fromkeys(names, Accepted(asked, time.monotonic())))
                return

    async def _strike(self, running: Supervised) -> None:
        rng = random.Random(f"strike {self.orders.seed}")
        blows = ["kill"] * self.orders.kills + ["restart"] * self.orders.restarts
        rng.shuffle(blows)
        for number, blow in enumerate(blows, 1):
            await asyncio.sleep(rng.uniform(0.3, 1.7) * self.orders.gap)
            busy = await self._busy(running)
            if not busy:
                return  # all is done, and the verdict says that not all blows were struck
            if blow == "kill":
                while not self._kill(rng.choice(busy)):
                    if not (busy := await self._busy(running)):
                        return
            else:
                down = time.monotonic()
                await asyncio.to_thread(self.server.kill)
                self._more.set()  # somebody enqueues while it is away
                await asyncio.sleep(rng.uniform(0, 1.5))
                await asyncio.to_thread(self.server.start)
                self.outages.append(Outage(down, time.monotonic()))
                self._more.set()
            self._struck = number
            if number % 50 == 0:
                print(f"{number} of {len(blows)} blows, {len(self.accepted):,} jobs", file=sys.stderr)

    async def _busy(self, running: Supervised) -> list[int]:
        """Wait until workers are in mid run; return them, once for each job, or nobody when all is done."""
        waited = time.monotonic()
        while True:
            self._look()
            workers = set(self.workers(running))
            if pids := [pid for pid in self._running.values() if pid in workers]:
                return pids
            if self._ended >= len(self.accepted):
                if self._ended >= self.orders.jobs and time.monotonic() > waited + IDLE:
                    return []
                self._more.set()
            await asyncio.sleep(0.02)

    def _look(self) -> None:
        """Read what is new in the ledger."""
        with self.ledger.path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            word, name, pid, _ = line.split()
            if word == "start":
                self._running[name] = int(pid)
            elif word == "end":
                self._running.pop(name, None)
                self._ended += 1

    def _kill(self, victim: int) -> bool:
        """Kill a worker, and with it the children in which jobs run alone; False when its jobs have just ended."""
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            os.kill(victim, signal.SIGSTOP)  # or it would start one more child, or end its job, after we looked
            below = [each.pid for each in psutil.Process(victim).children(recursive=True)]
            self._look()
            if victim in self._running.values():
                self.kills.append(Kill(frozenset((victim, *below)), time.monotonic()))
                os.kill(victim, signal.SIGKILL)
                return True
            os.kill(victim, signal.SIGCONT)
        return False

    async def _watch(self, running: Supervised) -> None:
        """Note when no worker process lives."""
        since: float | None = time.monotonic()
        while True:
            manned = bool(await asyncio.to_thread(running.workers))
            now = time.monotonic()
            if not manned and since is None:
                since = now
            elif manned and since is not None:
                self.unmanned.append((since, now))
                since = None
            await asyncio.sleep(0.1)

    async def _quiet(self) -> tuple[int, int]:
        """Wait until nothing is left; return how many jobs are left, and dead, at last."""
        store = (await self.app.runtime()).store
        end = time.monotonic() + LEFT
        while True:
            stats = (await store.broker.stats(["default"]))["default"]
            if not stats.depth or time.monotonic() > end:
                return stats.depth, stats.dead
            await asyncio.sleep(0.1)


async def survive(orders: Orders, folder: Path) -> Verdict:
    """Do all that is ordered in `folder`; return what came of it."""
    options: dict[str, Any] = {"appendonly": "yes", "appendfsync": orders.fsync}
    with node(folder / "redis", **options) as server:
        return await Drill(orders, folder, server).run()


def main(words: list[str]) -> int:
    """Run it as the command line says; exit code 0 when it holds."""
    fsync, jobs, kills, restarts, seed, gap = [*words, *("always", "50000", "300", "20", "1", "1.8")[len(words) :]][:6]
    orders = Orders(int(jobs), int(kills), int(restarts), fsync, int(seed), float(gap))
    print(origin(orders.seed), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        verdict = asyncio.run(survive(orders, Path(folder)))
    print(f"{verdict}; {time.monotonic() - began:.0f} s in all")
    for each in [*verdict.lost[:20], *verdict.unattributed[:20], *verdict.stalls[:20]]:
        print(each)
    return int(not verdict.holds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
