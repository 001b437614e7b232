"""A rate over several processes: `python -m tests.faults.proofs.rates --jobs 1000000`.

Each process claims and settles as fast as it can from one queue with a rate. The hand-outs are replayed in the order
of their fences, with the very time the store gave each, by the definition of GCRA in whole numbers: in any stretch of
t seconds at most burst + t x rate may begin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from msgspec import Raw

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.core.limits import Gcra, nanos
from outlast.core.message import Holder, Message
from outlast.core.settlement import Finish
from outlast.core.topology import Queue, Topology
from tests.support.origin import origin

__all__ = ["Verdict", "rates"]

BATCH = 256


class Watched(SystemClock):
    """A clock that remembers the last time it told."""

    told = 0.0

    def time(self) -> float:
        """Return wall time."""
        self.told = super().time()
        return self.told


@dataclass(frozen=True)
class Verdict:
    """admitted: jobs handed out; asks: claims; over: jobs beyond the rate; used: part of what the rate allows."""

    admitted: int
    asks: int
    over: int
    seconds: float
    used: float


async def _consume(path: str, name: str, journal: Path) -> None:
    clock = Watched()
    store = SqliteStore(path, clock=clock)
    holder = Holder(name * 32, name)
    await store.open()
    asks = 0
    with journal.open("w") as out:
        while True:
            asks += 1
            given = await store.claim({"q": BATCH}, limit=BATCH, holder=holder, lease=60.0, wait=2.0)
            at = clock.told
            if not given:
                break
            out.write(json.dumps([given[0].fence.token, nanos(at), len(given), asks]) + "\n")
            await store.settle([Finish(each.fence, "succeeded") for each in given])
    await store.close()


async def _fill(path: str, queue: Queue, jobs: int) -> None:
    store = SqliteStore(path, clock=SystemClock())
    await store.open()
    await store.declare(Topology((queue,)))
    now = time.time()
    for start in range(0, jobs, 5000):
        await store.publish(
            [
                Message(id=f"q.{n}", queue="q", kind="k", args=Raw(b"{}"), enqueued_at=now, run_at=now)
                for n in range(start, min(start + 5000, jobs))
            ]
        )
    await store.close()


def rates(folder: Path, *, jobs: int, processes: int = 4, rate: str = "20000/s", burst: int = 200) -> Verdict:
    """Hand out `jobs` jobs to `processes` processes at `rate`, and judge."""
    path = str(folder / "jobs.db")
    queue = Queue(name="q", rate=rate, burst=burst)
    asyncio.run(_fill(path, queue, jobs))
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.faults.proofs.rates",
                "--consume",
                path,
                name,
                str(folder / f"{name}.journal"),
            ]
        )
        for name in "abcdefgh"[:processes]
    ]
    for process in running:
        if process.wait() != 0:
            raise RuntimeError(f"a consumer ended with {process.returncode}")
    rows: list[list[int]] = []
    asks = 0
    for journal in folder.glob("*.journal"):
        mine = [json.loads(line) for line in journal.read_text().splitlines()]
        asks += mine[-1][3] if mine else 0
        rows += mine
    rows.sort()
    gcra = queue.gcra
    assert gcra is not None
    over = _over(gcra, rows)
    seconds = (rows[-1][1] - rows[0][1]) / 1e9
    admitted = sum(count for _, _, count, _ in rows)
    return Verdict(admitted, asks, over, seconds, admitted / (burst + seconds * 1e9 / gcra.interval))


def _over(gcra: Gcra, rows: list[list[int]]) -> int:
    """Return how many jobs began beyond the rate; rows: [fence, nanoseconds, jobs, ...] in order."""
    paid = over = 0
    for _, at, count, _ in rows:
        base = max(paid, at)
        over += max(0, count - (at + gcra.burst * gcra.interval - base) // gcra.interval)
        paid = base + count * gcra.interval
    return over


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--consume", nargs=3, metavar=("PATH", "NAME", "JOURNAL"))
    chosen = parser.parse_args()
    if chosen.consume:
        asyncio.run(_consume(chosen.consume[0], chosen.consume[1], Path(chosen.consume[2])))
        raise SystemExit(0)
    print(origin(), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        verdict = rates(Path(scratch), jobs=chosen.jobs, processes=chosen.processes)
    print(verdict)
    raise SystemExit(1 if verdict.over or verdict.admitted != chosen.jobs else 0)
