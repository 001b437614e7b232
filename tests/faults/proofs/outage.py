"""An outage of a dependency that half of the jobs need: `python -m tests.faults.proofs.outage sqlite`, or `redis`.

Two workers run 10,000 jobs that need it and 10,000 that do not. It is down for 60 s, and one of the workers is killed
meanwhile. The ledger of the workers tells what they did, the record of the guard how many probes it gave.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from outlast import Outlast
from outlast.core.store.store import Store
from outlast.settings import Settings
from tests.faults.guards.needs_app import charge, mail
from tests.faults.guards.needs_app import shop as declared
from tests.faults.guards.processes import record_of
from tests.support.ledger import Ledger
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.stage import declaring_alike
from tests.support.store_urls import KINDS, store_url
from tests.support.supervise import Supervised, supervised

__all__ = ["Plan", "Verdict", "prove"]

TARGET = "tests.faults.guards.needs_app:shop"
PATIENCE = 300.0


@dataclass(frozen=True)
class Plan:
    """What is done. seconds: of the outage, in which the other jobs come evenly. rest: then, to measure the CPU."""

    jobs: int
    others: int
    seconds: float
    interval: float = 5.0
    lease: float = 10.0
    ramp: float = 10.0
    call: float = 0.05
    concurrency: int = 20
    down: bool = True
    rest: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What came of it, while the guard was open and after it.

    burned: failures that were no probe; refused: runs that began before their worker heard of the opening, and used no
    attempt: at most `slots`, of both workers. calls: those of the dependency. probes: those that the store gave; most:
    the intervals that the guard was open. attempts: failed calls before that. peak: most calls in a second, after an
    outage those of its end. p99: seconds that the other jobs waited. cpu: of one worker, in percent, while all that
    waited needed the guard.
    """

    burned: int
    refused: int
    slots: int
    calls: int
    probes: int
    most: int
    attempts: int
    unpaid: int
    unmailed: int
    twice: int
    peak: int
    p99: float
    cpu: float
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether no attempt was burned, no probe was made beyond those given, and every job is done."""
        bounded = self.calls <= self.probes <= self.most and self.refused <= self.slots
        return bounded and self.burned == self.unpaid == self.unmailed == 0


async def prove(url: str, folder: Path, plan: Plan) -> Verdict:
    """Run the workers through an outage, or without one; judge by the ledger."""
    ledger, down = Ledger(folder / "ledger"), folder / "down"
    environ = {
        "OUTLAST_OUTAGE_URL": url,
        "OUTLAST_OUTAGE_LEASE": "5",
        "OUTAGE_FOLDER": str(folder),
        "OUTAGE_INTERVAL": str(plan.interval),
        "OUTAGE_LEASE": str(plan.lease),
        "OUTAGE_RAMP": str(plan.ramp),
        "OUTAGE_CALL": str(plan.call),
    }
    if plan.down:
        down.touch()
    shop = declaring_alike(declared, Settings(url=url, enqueue_timeout=60))
    store = (await shop.runtime()).store
    begin = time.monotonic()
    options = {"processes": 2, "concurrency": plan.concurrency}
    opened_at = up_at = probes = 0.0
    cpu = 0.0
    with supervised(TARGET, environ, folder / "log", **options) as running:
        # Else a worker that starts late calls while the news of the opening is on its way to it.
        await until(lambda: _consumed(store, processes=2), "both workers consume", within=PATIENCE)
        charges = await _enqueue(shop, plan.jobs)
        if plan.down:
            opened_at = await _opened(store)
        mails = asyncio.create_task(_mail(shop, plan))
        if plan.down:
            await asyncio.sleep(plan.seconds / 2)
            await _kill_one(running)
        sent = await mails
        await _all_ended(store, sent)
        if plan.down:
            cpu = await _at_rest(running, plan.rest)
            probes = await _probes(store)
            up_at = time.monotonic()
            down.unlink()
            probes = max(probes, await _probes(store))
        await _all_ended(store, charges)
    await shop.close()
    calls, paid, mailed = ledger.read("call"), ledger.names("paid"), ledger.names("mailed")
    during = [each for each in ledger.read() if opened_at < each.at < up_at]
    runs = sum(each.word == "run" for each in during)
    made = sum(each.word == "call" for each in during)
    loads = Counter(int(each.at - begin) for each in calls if each.at >= up_at)
    waited = sorted(float(each.word) for each in Ledger(folder / "waits").read())
    return Verdict(
        burned=max(0, sum(each.word == "failed" for each in during) - int(probes)),
        refused=runs - made,
        slots=2 * plan.concurrency,
        calls=made,
        probes=int(probes),
        most=int((up_at - opened_at) / plan.interval) + 2 if plan.down else 0,
        attempts=sum(each.at <= opened_at for each in ledger.read("failed")),
        unpaid=plan.jobs - len(paid),
        unmailed=plan.others - len(mailed),
        twice=sum(count > 1 for count in paid.values()),
        peak=max(loads.values(), default=0),
        p99=waited[int(len(waited) * 0.99)] if waited else 0.0,
        cpu=cpu,
        seconds=time.monotonic() - begin,
    )


async def _enqueue(shop: Outlast, number: int) -> list[str]:
    messages = [charge.message(n) for n in range(number)]
    return [handle.id for handle in await shop.enqueue_many(messages)]


async def _mail(shop: Outlast, plan: Plan) -> list[str]:
    """Enqueue the other jobs, evenly over the time of the outage."""
    begin, sent, steps = time.monotonic(), list[str](), max(1, int(plan.seconds * 10))
    for step in range(steps):
        first, last = plan.others * step // steps, plan.others * (step + 1) // steps
        now = time.time()
        sent += [handle.id for handle in await shop.enqueue_many([mail.message(n, now) for n in range(first, last)])]
        await asyncio.sleep(max(0.0, begin + (step + 1) * plan.seconds / steps - time.monotonic()))
    return sent


async def _consumed(store: Store, *, processes: int) -> bool:
    """Tell whether so many worker processes consume the charges."""
    stats = await store.broker.stats(["charges"])
    return "charges" in stats and stats["charges"].consumers == processes


async def _opened(store: Store) -> float:
    """Wait until the guard is open for all processes; return when it was seen."""

    async def look() -> bool:
        return (await record_of(store)).open

    await until(look, "the guard opens", within=PATIENCE)
    return time.monotonic()


async def _probes(store: Store) -> int:
    """Return how many probes the store gave since the opening, which is one change of state; a probe is two."""
    return (await record_of(store)).generation // 2


async def _kill_one(running: Supervised) -> None:
    """Kill a worker, and wait until another one has taken its place."""
    before = running.workers()
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: len(set(running.workers()) - {before[0]}) >= len(before), "a worker takes its place")


async def _at_rest(running: Supervised, seconds: float) -> float:
    """Return the CPU time of a worker in percent over some seconds."""
    if not seconds:
        return 0.0
    workers = [psutil.Process(pid) for pid in running.workers()]
    before = [sum(each.cpu_times()[:2]) for each in workers]
    await asyncio.sleep(seconds)
    used = [sum(each.cpu_times()[:2]) - first for each, first in zip(workers, before, strict=True)]
    return float(max(used)) / seconds * 100


async def _all_ended(store: Store, ids: list[str]) -> None:
    for start in range(0, len(ids), 500):
        records = await store.records.wait(ids[start : start + 500], PATIENCE)
        unended = [each for each in records if each is None or each.state != "succeeded"]
        assert not unended, unended[:3]


def main() -> int:
    """Run the proof with an outage and without, and print the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=KINDS)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    print(origin(), flush=True)
    verdicts = []
    for down in (False, True):
        plan = Plan(given.jobs, given.jobs, given.seconds, down=down, rest=10.0 if down else 0.0)
        with tempfile.TemporaryDirectory() as folder, store_url(given.store, Path(folder)) as url:
            verdicts.append(asyncio.run(prove(url, Path(folder), plan)))
        print("with an outage:" if down else "without:", verdicts[-1], flush=True)
    without, outage = verdicts
    print(
        f"load: {outage.peak / max(1, without.peak):.2f} x; p99 of the others: {outage.p99:.3f} / {without.p99:.3f} s"
    )
    return 0 if outage.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
