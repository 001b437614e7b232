"""Metrics of workers under recycling and kills: `python -m tests.faults.proofs.worker_metrics --kills 200`.

A supervisor runs three workers, which are recycled and killed with SIGKILL at random moments while jobs come without
end. Afterwards the counted runs are compared with the jobs that were accepted, each of which has succeeded once. Then
5,000 processes, forked one after the other, count 50 kinds on 10 queues in shared memory and kill themselves; what is
read of them all must have the series of one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

import psutil
from msgspec import structs

from outlast import Outlast, Settings
from outlast.aio.clock import SystemClock
from outlast.core.message import Delivery, Fence, Message
from outlast.core.settlement import Finish
from outlast.meters import meters
from outlast.meters.memory import MemoryReader, create_shared
from outlast.meters.metric import Reading
from outlast.observe.aggregate import ProcessReadings
from outlast.supervisor.supervisor import Supervisor
from outlast.worker.budget import Budget
from outlast.worker.run import Run
from outlast.worker.slot_groups import AHEAD
from outlast.worker.tally import RunTally
from outlast.worker.worker_gauges import WorkerGauges
from tests.support.apps.metered_app import app as declared
from tests.support.apps.metered_app import quick
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.stage import declaring_alike

SLOTS = 20
BATCH = SLOTS * (1 + AHEAD)
BACKLOG = 2000
KINDS, QUEUES, RUNS = 50, 10, 20
KIND_RUNS = "outlast_kind_runs_total"
HISTOGRAMS = ("outlast_job_run_seconds", "outlast_job_wait_seconds")


def total(readings: list[Reading], name: str, take: Callable[[Reading], float] = lambda each: each.values[0]) -> float:
    return sum(take(each) for each in readings if each.metric.name == name)


def counts(reading: Reading) -> float:
    """How many a histogram has."""
    return sum(reading.values[:-1])


def gauges(readings: list[Reading]) -> list[str]:
    """Those of workers: this process, which supervises them, has one of its own, which has no labels."""
    return [each.metric.name for each in readings if each.metric.kind == "gauge" and each.labels]


async def killed(folder: str, kills: int, rng: random.Random) -> bool:
    """Kill workers under load; return whether the metrics agree with the store."""
    url = os.environ["OUTLAST_METERED_URL"] = f"sqlite:{folder}/jobs.db"
    shop = declaring_alike(declared, Settings(url=url, enqueue_timeout=60))
    store = (await shop.runtime()).store
    supervisor, stop = (
        Supervisor("tests.support.apps.metered_app:app", processes=3, concurrency=SLOTS, max_jobs=3000),
        (asyncio.Event()),
    )
    task = asyncio.create_task(supervisor.run(stop))
    await until(lambda: len(supervisor.pids) == 3, "all have started")
    accepted, seen, took = 0, set[int](), list[float]()

    async def feed() -> int:
        depth = (await store.broker.stats(["fast"]))["fast"].depth
        if depth < BACKLOG:
            await shop.send([quick.message(rng.choice((0.0, 0.002, 0.02))) for _ in range(500)])
        return 500 if depth < BACKLOG else 0

    done = 0
    while done < kills:
        accepted += await feed()
        seen.update(supervisor.pids)
        began = time.perf_counter()
        counted = total(supervisor.readings(), KIND_RUNS)
        took.append(time.perf_counter() - began)
        assert counted <= accepted, (counted, accepted)
        await asyncio.sleep(rng.uniform(0, 0.4))
        assert not task.done(), "the supervisor has given up"
        ready = [each.child.pid for each in supervisor._processes if each.ready]
        if ready:  # one that dies again and again before it is ready ends its supervisor
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(rng.choice(ready), signal.SIGKILL)
                done += 1

    async def drained() -> bool:
        return not (await store.broker.stats(["fast"]))["fast"].depth

    await until(drained, "all jobs have ended", within=300)
    dead = (await store.broker.stats(["fast"]))["fast"].dead
    stop.set()
    await task
    await shop.close()
    readings = supervisor.readings()
    runs = total(readings, KIND_RUNS)
    both = [total(readings, name, counts) for name in HISTOGRAMS]
    missing = accepted - runs
    print(f"{accepted:,} jobs accepted, {dead} dead, {kills} kills, {len(seen)} workers of three replicas")
    print(
        f"counted: {runs:,.0f} runs, histograms {both}; missing {missing:,.0f}, that is {missing / kills:.1f} of a kill"
    )
    print(f"one batch has at most {BATCH}; gauges left: {len(gauges(readings))}")
    print(f"a reading of all took {median(took) * 1000:.1f} ms, at most {max(took) * 1000:.1f} ms")
    inside = all(accepted - kills * BATCH <= each <= accepted for each in (runs, *both))
    return inside and not dead and not gauges(readings)


def many_kinds() -> Outlast:
    shop = Outlast("large", settings=Settings(url="memory:"))

    async def handler() -> None: ...

    for number in range(KINDS):
        shop.job(queue=f"queue-{number % QUEUES}", kind=f"kind_{number}")(handler)
    return shop


def count_and_die(shop: Outlast, messages: Sequence[Message], fd: int) -> None:
    """In a forked process: count some runs, and end by SIGKILL."""
    meters.share(fd)
    clock = SystemClock()
    tally = RunTally(shop.registry, clock, list(shop.registry.queues))
    budget = Budget(shop.composer, concurrency=100, threads=10, processes=2)
    gauges = WorkerGauges(budget, shop.name)
    batch = []
    host: Any = None
    for number, message in enumerate(messages):
        sent = structs.replace(message, run_at=clock.time() - number)
        plan: Any = sent
        run = Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), plan, budget.loop, host, 0.0)
        run.begun, run.started, run.took = True, clock.monotonic(), 0.001 * number + 0.001
        batch.append((run, Finish(run.delivery.fence, "succeeded" if number % 3 else "dead")))
    tally.settled(batch)
    gauges.beat(1.0)
    os.kill(os.getpid(), signal.SIGKILL)


def recycled(processes: int) -> bool:
    """Let so many processes count and die; return whether the last reading has the series of the first."""
    shop, readings, own = many_kinds(), ProcessReadings(), psutil.Process()
    before, took = (0, 0), list[float]()
    messages = [shop.composer.message(each) for each in list(shop.registry.declarations.values())[:RUNS]]
    for number in range(processes + 1):
        fd = create_shared()
        reader = MemoryReader(fd)
        readings.started(reader)
        pid = os.fork()
        if not pid:
            try:
                count_and_die(shop, messages, fd)
            finally:
                os._exit(1)
        os.close(fd)
        os.waitpid(pid, 0)
        if not number:
            first = sum(len(each.edges) + 3 if each.edges else len(each.values) for each in readings.read())
            print(f"of one process with {KINDS} kinds on {QUEUES} queues: {first} lines")
        if number % 500 == 0:
            began = time.perf_counter()
            readings.read()
            took.append(time.perf_counter() - began)
        readings.ended(reader)
        if not number:
            before = len(readings.read()), own.num_fds()
    after = readings.read()
    runs = total(after, KIND_RUNS)
    print(
        f"after {processes:,} more: {len(after)} series ({before[0]} of one), {own.num_fds()} descriptors ({before[1]})"
    )
    print(f"runs counted: {runs:,.0f} of {(processes + 1) * RUNS:,}; gauges left: {len(gauges(after))}")
    print(f"a reading took {median(took) * 1000:.1f} ms; {own.memory_info().rss >> 20} MiB resident")
    complete = runs == (processes + 1) * RUNS and total(after, HISTOGRAMS[0], counts) == runs
    return complete and (len(after), own.num_fds()) == before and not gauges(after)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(origin(options.seed))
    good = recycled(options.processes) if options.processes else True
    if options.kills:
        with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
            good = asyncio.run(killed(folder, options.kills, random.Random(options.seed))) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
