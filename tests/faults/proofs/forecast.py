"""Forecasts against what then happens: `python -m tests.faults.proofs.forecast --seed 1`.

Twenty queues of one SQLite file, a worker for each: a backlog alone, a burst some seconds later, steady arrivals,
bursts again and again, and jobs of two lengths mixed; each with short and with long jobs, twice. At 10, 20 and 40 s the
drain time that the store foretells is compared with the measured one, until the queue is empty. Arrivals go on until no
job waits. Beside them, clients enqueue into a queue with `max_depth`, and come back when `Retry-After` says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from random import Random

from outlast import Outlast, QueueFull, Settings
from outlast.enqueue.job import Job
from outlast.worker import Worker
from tests.support.origin import origin

__all__ = ["Returns", "Verdict", "Workload", "prove"]

JUDGED: tuple[float, ...] = (10, 20, 40)
NEAR = 0.25
GOOD = 18
"""Workloads of twenty that must be foretold well at each of the three times."""
ACCEPTED = 0.9
"""The part of the returning clients that must be accepted."""
SHAPES = ("backlog", "late burst", "steady", "bursts", "mixed")
LAST = 90.0
"""About the seconds until a queue is empty."""
JOB = Job[[float], None]


@dataclass
class Workload:
    """One queue. seconds: of a job; slots: of its worker. predicted, measured: seconds by the time of judging."""

    name: str
    shape: str
    seconds: float
    slots: int
    rng: Random
    predicted: dict[float, float | None] = field(default_factory=dict)
    measured: dict[float, float] = field(default_factory=dict)

    @property
    def pace(self) -> float:
        """Jobs a second that its slots can end."""
        return self.slots / (0.6 if self.shape == "mixed" else self.seconds)

    @property
    def share(self) -> float:
        """The arrivals, as a part of the pace."""
        return {"steady": 0.5, "bursts": 0.4}.get(self.shape, 0.0)

    @property
    def first(self) -> int:
        """The jobs of the backlog."""
        seconds = LAST - 30 if self.shape == "late burst" else LAST
        return round(self.pace * (1 - self.share) * seconds)

    def length(self) -> float:
        """Return the seconds of one job."""
        return self.rng.choice((0.2, 1.0)) if self.shape == "mixed" else self.seconds

    def arrivals(self) -> Iterator[tuple[float, int]]:
        """Yield pauses in seconds, and the jobs that come after each."""
        if self.shape == "late burst":
            yield self.rng.uniform(3, 6), round(self.pace * 30)
        while self.shape == "steady":
            yield self.rng.uniform(0.5, 1.5) / (self.pace * self.share), 1
        while self.shape == "bursts":
            yield 2.0, round(2 * self.pace * self.share)

    @property
    def error(self) -> float:
        """The largest relative error of its predictions."""
        return max(
            math.inf if (said := self.predicted[at]) is None else abs(said - self.measured[at]) / self.measured[at]
            for at in self.predicted
        )


@dataclass
class Returns:
    """What came of the clients of a full queue: how often they came back, and how often they were accepted then."""

    refused_first: int = 0
    returned: int = 0
    accepted: int = 0
    longest: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What came of a run."""

    workloads: tuple[Workload, ...]
    returns: Returns

    @property
    def good(self) -> int:
        """Workloads that were foretold well at each time."""
        return sum(each.error <= NEAR for each in self.workloads)

    @property
    def sound(self) -> bool:
        """Whether the claim holds."""
        returns = self.returns
        enough = returns.accepted >= ACCEPTED * returns.returned > 0
        return self.good >= GOOD * len(self.workloads) / 20 and enough


def workloads(seed: int) -> list[Workload]:
    """Return the twenty."""
    made = []
    for shape in SHAPES:
        for seconds, slots in ((0.25, 2), (1.0, 6)):
            for twin in range(2):
                name = f"{shape}-{slots}-{twin}".replace(" ", "-")
                made.append(Workload(name, shape, seconds, slots, Random(f"{seed} {name}")))
    return made


def declared(app: Outlast, queue: str, **settings: int) -> JOB:
    """Declare a queue and a job that takes as long as it is told."""
    app.queue(queue, **settings)  # type: ignore[arg-type]

    @app.job(queue=queue, kind=f"take-{queue}")
    async def take(seconds: float) -> None:
        await asyncio.sleep(seconds)

    return take


@contextlib.asynccontextmanager
async def working(app: Outlast, queue: str, slots: int) -> AsyncIterator[None]:
    """Run a worker for one queue."""
    stop = asyncio.Event()
    worker = asyncio.create_task(Worker(await app.runtime(), queues=[queue], concurrency=slots).run(stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def judge(app: Outlast, job: JOB, load: Workload) -> None:
    """Run one workload until its queue is empty."""
    broker = (await app.runtime()).store.broker
    began = time.monotonic()
    judged_at: dict[float, float] = {}
    none_waits = asyncio.Event()

    async def arrive() -> None:
        for pause, jobs in load.arrivals():
            await asyncio.sleep(pause)
            if none_waits.is_set():
                return
            await app.enqueue_many([job.message(load.length()) for _ in range(jobs)])

    async with working(app, load.name, load.slots):
        await app.enqueue_many([job.message(load.length()) for _ in range(load.first)])
        arriving = asyncio.create_task(arrive())
        while True:
            stats = (await broker.stats([load.name]))[load.name]
            now = time.monotonic()
            for at in JUDGED:
                if at not in judged_at and now - began >= at:
                    judged_at[at] = now
                    load.predicted[at] = stats.forecast.empty_in
            if len(judged_at) == len(JUDGED) and not stats.ready:
                none_waits.set()
            if none_waits.is_set() and not stats.depth:
                break
            await asyncio.sleep(0.25)
        load.measured = {at: now - judged for at, judged in judged_at.items()}
        await arriving


async def come_back(app: Outlast, job: JOB, *, clients: int, rng: Random) -> Returns:
    """Let clients enqueue one job each, within some seconds; those that are refused come back as they were told."""
    found = Returns()

    async def client() -> None:
        await asyncio.sleep(rng.uniform(2, 8))
        first = True
        while True:
            try:
                await job.enqueue(0.5)
            except QueueFull as full:
                found.refused_first += first
                found.returned += not first
                wait = math.ceil(full.retry_after)  # as over HTTP
            else:
                found.returned += not first
                found.accepted += not first
                return
            first = False
            found.longest = max(found.longest, wait)
            await asyncio.sleep(wait)

    async with working(app, "full", 10):
        await app.enqueue_many([job.message(0.5) for _ in range(50)])
        await asyncio.gather(*(client() for _ in range(clients)))
        broker = (await app.runtime()).store.broker
        while (await broker.stats(["full"]))["full"].depth:
            await asyncio.sleep(0.25)
    return found


async def prove(seed: int, folder: str, *, clients: int = 500) -> Verdict:
    """Run all."""
    app = Outlast("forecasts", settings=Settings(url=f"sqlite:{folder}/jobs.db"))
    loads = workloads(seed)
    jobs = [declared(app, load.name) for load in loads]
    full = declared(app, "full", max_depth=50)
    rng = Random(f"{seed} clients")
    *_, returns = await asyncio.gather(
        *(judge(app, job, load) for job, load in zip(jobs, loads, strict=True)),
        come_back(app, full, clients=clients, rng=rng),
    )
    assert isinstance(returns, Returns)
    await app.close()
    return Verdict(tuple(loads), returns)


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=500)
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        verdict = asyncio.run(prove(given.seed, folder, clients=given.clients))
    for load in verdict.workloads:
        pairs = (f"{at:g} s: {_shown(load.predicted[at])} / {load.measured[at]:.1f}" for at in JUDGED)
        print(f"{load.name:20} {load.error:7.0%}  {'  '.join(pairs)}")
    print(f"{verdict.good} of {len(verdict.workloads)} workloads within {NEAR:.0%}; {verdict.returns}")
    return 0 if verdict.sound else 1


def _shown(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
