"""The limiter over several processes: `python -m tests.faults.proofs.limits redis --decisions 1000000`.

Each process takes as fast as it can from one key of three limiters, one of each algorithm. It writes down when each
admitted call began and ended, by the clock that the store uses too. The judge looks for a period in which more calls
lie completely than the algorithm admits: GCRA burst + rate x time, a sliding window its count in each period, a fixed
window its count in each window that the period touches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

from outlast import Limiter, Outlast, Settings
from outlast.toolkit.limiter.quotas import Algorithm
from tests.support.servers.redis_server import RedisServer

__all__ = ["ALGORITHMS", "Verdict", "limits"]

ALGORITHMS: tuple[Algorithm, ...] = ("gcra", "sliding", "fixed")
CALLERS = 30
"""Calls at once of one process: 10 of each limiter."""
RATES = {"redis": "2000/10s", "sqlite": "200/2s"}


@dataclass(frozen=True)
class Verdict:
    """Of one algorithm. over: admitted calls beyond the limit; used: the part that was admitted of what the rate is."""

    algorithm: str
    decisions: int
    admitted: int
    over: int
    used: float
    seconds: float


async def _take(url: str, rate: str, decisions: int, journal: Path) -> None:
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url=url, toolkit_timeout=60))
    limiters = [shop.limiter(rate, name=algorithm, algorithm=algorithm) for algorithm in ALGORITHMS]
    admitted: dict[str, list[tuple[float, float]]] = {algorithm: [] for algorithm in ALGORITHMS}

    async def call(limiter: Limiter, times: int) -> None:
        for _ in range(times):
            began = time.time()
            found = await limiter.take("key")
            if found.approximate:
                raise RuntimeError("the store was away")
            if found:
                admitted[limiter.name].append((began, time.time()))

    await limiters[0].take("the first call opens the store")
    each = decisions // CALLERS
    await asyncio.gather(*(call(limiters[number % 3], each) for number in range(CALLERS)))
    await shop.close()
    journal.write_text(json.dumps({"decisions": each * CALLERS, "admitted": admitted}))


def limits(url: str, folder: Path, *, rate: str, decisions: int, processes: int = 4) -> list[Verdict]:
    """Make `decisions` in `processes` processes, a third with each algorithm, and judge them."""
    journals = [folder / f"{number}.json" for number in range(processes)]
    share = str(decisions // processes)
    command = [sys.executable, "-m", "tests.faults.proofs.limits", "--take", url, rate, share]
    running = [subprocess.Popen([*command, str(journal)]) for journal in journals]
    for process in running:
        if process.wait() != 0:
            raise RuntimeError(f"a process ended with {process.returncode}")
    written = [json.loads(journal.read_text()) for journal in journals]
    made = sum(each["decisions"] for each in written) // 3
    return [
        _judged(name, rate, made, [call for each in written for call in each["admitted"][name]]) for name in ALGORITHMS
    ]


def _judged(algorithm: str, rate: str, decisions: int, calls: list[list[float]]) -> Verdict:
    quota = Outlast("shop").limiter(rate, name=algorithm).rules.quotas[0]
    count, period = quota.count, quota.period / 1e6
    begins, ends = sorted(call[0] for call in calls), sorted(call[1] for call in calls)
    seconds = ends[-1] - begins[0]
    at_once = count if algorithm == "gcra" else 0
    used = len(calls) / max(count, at_once + count * seconds / period)
    over = 0
    for length in (0.01, period / 10, period * 0.999999, period * 3, seconds):
        for begin in begins[:: max(1, len(begins) // 20_000)]:
            # At least so many began at `begin` or later, and ended within the length.
            inside = bisect_right(ends, begin + length) - bisect_left(begins, begin)
            over = max(over, inside - _admits(algorithm, count, period, begin, length))
    return Verdict(algorithm, decisions, len(calls), over, used, seconds)


def _admits(algorithm: str, count: int, period: float, begin: float, length: float) -> int:
    """Return how many calls an algorithm admits in a period of time, at most."""
    if algorithm == "gcra":
        return int(count + length * count / period) + 1
    if algorithm == "sliding":
        return count * -int(-length // period)
    return count * (int((begin + length) // period) - int(begin // period) + 1)


def _run(store: str, decisions: int, processes: int, rate: str) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as scratch:
        if store == "sqlite":
            return limits(
                f"sqlite:{scratch}/kit.db", Path(scratch), rate=rate, decisions=decisions, processes=processes
            )
        server = RedisServer()
        server.start()
        try:
            return limits(server.url, Path(scratch), rate=rate, decisions=decisions, processes=processes)
        finally:
            server.remove()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--take"]:
        asyncio.run(_take(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5])))
        raise SystemExit(0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=RATES)
    parser.add_argument("--decisions", type=int, help="default: 1,000,000; 100,000 on SQLite")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rate", help="of each limiter, below what the machine can decide")
    chosen = parser.parse_args()
    verdicts = _run(
        chosen.store,
        chosen.decisions or (1_000_000 if chosen.store == "redis" else 100_000),
        chosen.processes,
        chosen.rate or RATES[chosen.store],
    )
    for verdict in verdicts:
        print(verdict)
    raise SystemExit(1 if any(each.over or each.used < 0.99 for each in verdicts) else 0)
