"""Kills workers and RabbitMQ under jobs that RabbitMQ carries: no job is lost, and no worker falls silent.

`python -m tests.faults.proofs.transport [--kills 200] [--malformed 1000]`: each tenth kill is one of RabbitMQ. Then
messages that are no jobs come between jobs (`tests/stores/rabbitmq/test_malformed.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import psutil

from outlast import EnqueueUnknown, StoreError
from tests.faults.kill.app import brief
from tests.faults.rabbitmq.again import Consumption, Restarts
from tests.faults.rabbitmq.transport_scene import RabbitScene, transport_scene
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import RabbitServer
from tests.support.supervise import Supervised

__all__ = ["TransportVerdict", "survive"]

JOBS: Final = 100
"""Jobs that are sent for each kill."""
PROCESSES: Final = 3
MALFORMED: Final = "tests/stores/rabbitmq/test_malformed.py"


@dataclass
class TransportVerdict:
    """What came of it. lost: jobs without an end. strange: names that nobody sent. rerun: runs more than jobs.

    rerun is bounded by `allowed`: at a kill of a worker its ten runs, at one of the server all thirty and what was
    enqueued twice.
    """

    jobs: int
    kills: int
    lost: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    rerun: int = 0
    allowed: int = 0
    again: Restarts = field(default_factory=Restarts)

    @property
    def holds(self) -> bool:
        """Whether each job ended, and none ran again without a cause."""
        return not self.lost and not self.strange and self.rerun <= self.allowed

    def __str__(self) -> str:
        return (
            f"{self.jobs:,} jobs, {self.kills} kills of workers, {len(self.again.seen)} of RabbitMQ: {len(self.lost)} "
            f"lost, {self.rerun} runs more than jobs (at most {self.allowed}); {self.again}"
        )


class TransportDrill:
    """One run: jobs are sent, and after each hundred a worker or RabbitMQ is killed."""

    def __init__(self, scene: RabbitScene, kills: int, seed: int) -> None:
        self.scene = scene
        self.kills = kills
        self.rng = Random(seed)
        self.sent: set[str] = set()
        self.again = Restarts()
        self.killed = 0

    async def run(self) -> TransportVerdict:
        """Send and kill; wait until no job is left, and judge by the ledger."""
        with self.scene.start(processes=PROCESSES, concurrency=10) as running:
            for kill in range(1, self.kills + 1):
                await self.send([f"job-{each}" for each in range(JOBS * (kill - 1), JOBS * kill)])
                await self.scene.some_ended(JOBS * (kill - 1))
                if kill % 10 == 0:
                    await self._restart(running)
                elif workers := self.scene.workers(running):
                    psutil.Process(self.rng.choice(workers)).kill()
                    self.killed += 1
            await self.scene.ended(*self.sent)
            await self.scene.done()
        began, ended = self.scene.ledger.names("start"), self.scene.ledger.names("end")
        return TransportVerdict(
            len(self.sent),
            self.killed,
            lost=sorted(self.sent - ended.keys()),
            strange=sorted(ended.keys() - self.sent),
            rerun=sum(began.values()) - len(self.sent),
            allowed=10 * self.killed + 130 * len(self.again.seen),
            again=self.again,
        )

    async def send(self, names: Sequence[str]) -> None:
        """Enqueue jobs, again as long as it is not known that they are accepted."""
        jobs = [brief.message(name, self.rng.uniform(0, 0.05)) for name in names]
        self.sent.update(names)

        async def accepted() -> bool:
            try:
                await self.scene.app.enqueue_many(jobs)
            except (EnqueueUnknown, StoreError):
                return False
            return True

        await until(accepted, "the jobs are accepted")

    async def _restart(self, running: Supervised) -> None:
        consumption = Consumption(self.scene.ledger, lambda: self.scene.workers(running), PROCESSES, self.send)
        self.again.seen.append(await consumption.restart(self.scene.server, self.scene.url))


async def survive(scene: RabbitScene, *, kills: int, seed: int = 1) -> TransportVerdict:
    """Kill so often, each tenth time the server; return what came of the jobs."""
    return await TransportDrill(scene, kills, seed).run()


async def _in_full(server: RabbitServer, kills: int, seed: int) -> TransportVerdict:
    with tempfile.TemporaryDirectory() as folder:
        async with transport_scene(Path(folder), server, "/") as scene:
            return await survive(scene, kills=kills, seed=seed)


def main() -> int:
    """Run it; exit code 0 when no job was lost and the workers consumed again in time, and no message was misread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--malformed", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    began, server = time.monotonic(), RabbitServer()
    try:
        server.start()
        verdict = asyncio.run(_in_full(server, given.kills, given.seed))
    finally:
        server.remove()
    print(f"{verdict}; {time.monotonic() - began:.0f} s in all")
    for each in [*verdict.lost[:20], *verdict.strange[:20]]:
        print(each)
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=1800", MALFORMED]
    misread = subprocess.run(command, env={**os.environ, "OUTLAST_TEST_MALFORMED": str(given.malformed)}, check=False)
    return int(misread.returncode != 0 or not (verdict.holds and verdict.again.in_time))


if __name__ == "__main__":
    raise SystemExit(main())
