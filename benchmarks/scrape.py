"""How long a scrape takes, and how many series it has: 50 kinds on 10 queues with 100,000 jobs.

`python -m benchmarks.scrape [--jobs 100000]`. The figures of workers are made here, joined as those of one process,
under the names that workers use.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time

from outlast import Job, Outlast, Settings
from outlast.core.store.store import Store
from outlast.core.store.totals import OUTCOMES
from outlast.meters import Meters
from outlast.observe.declared import declared_by
from outlast.observe.exposition import Exposition
from outlast.observe.sampler import Sampler

__all__ = ["main"]

KINDS, QUEUES, ROUNDS = 50, 10, 30
WAIT = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
CALL = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
HTTP = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


def _declare(shop: Outlast) -> list[Job[[int], None]]:
    jobs: list[Job[[int], None]] = []
    for number in range(KINDS):

        async def handler(n: int) -> None: ...

        jobs.append(shop.job(queue=f"queue{number % QUEUES}", kind=f"kind{number}")(handler))
    return jobs


def _process() -> Meters:
    """Return what one process has counted: each series that there can be."""
    own, rng = Meters(), random.Random(1)
    waits = own.histogram("outlast_job_wait_seconds", "Waits.", ("app", "queue"), edges=WAIT)
    runs = own.histogram("outlast_job_run_seconds", "Runs.", ("app", "queue"), edges=WAIT)
    for number in range(QUEUES):
        for each in (waits, runs):
            each.of("shop", f"queue{number}").observe(*(rng.expovariate(0.1) for _ in range(1000)))
    outcomes = own.counter("outlast_kind_runs_total", "Runs by outcome.", ("app", "kind", "outcome"))
    seconds = own.summary("outlast_kind_run_seconds", "Runs.", ("app", "kind"))
    cpu = own.counter("outlast_kind_cpu_seconds_total", "CPU.", ("app", "kind"))
    size = own.counter("outlast_kind_bytes_total", "Bytes.", ("app", "kind"))
    for number in range(KINDS):
        kind = f"kind{number}"
        for outcome in ("succeeded", "failed", "retried", "released"):
            outcomes.of("shop", kind, outcome).add(rng.randrange(1000))
        seconds.of("shop", kind).observe(rng.random() * 1000, 1000)
        cpu.of("shop", kind).add(rng.random() * 100)
        size.of("shop", kind).add(rng.randrange(1_000_000))
    calls = own.histogram("outlast_store_call_seconds", "Calls.", ("operation",), edges=CALL)
    for operation in ("publish", "claim", "settle", "extend", "save", "forfeit", "stats", "get"):
        calls.of(operation).observe(*(rng.expovariate(100) for _ in range(1000)))
    requests = own.histogram("outlast_http_request_seconds", "Requests.", ("method", "route", "status"), edges=HTTP)
    for number in range(10):
        for status in ("2xx", "4xx"):
            requests.of("GET", f"/route{number}/{{id}}", status).observe(*(rng.random() for _ in range(1000)))
    return own


def _totals() -> dict[tuple[str, str, str], int]:
    return {(f"queue{n % QUEUES}", f"kind{n}", outcome): n for n in range(KINDS) for outcome in OUTCOMES}


async def _measure(shop: Outlast, number: int) -> None:
    kinds = _declare(shop)
    await shop.enqueue_many(kinds[n % KINDS].message(n) for n in range(number))
    store = (await shop.runtime()).store
    processes = _process()

    async def opened() -> Store:
        return store

    async def totals(*_: object) -> dict[tuple[str, str, str], int]:
        return _totals()

    whole, worked, sampled, text = [], [], [], b""
    for _ in range(ROUNDS):
        sampler = Sampler(opened, lambda: declared_by(shop.registry), totals=totals)  # a new one samples at once
        began, busy = perf_counter(), process_time()
        await sampler.readings()
        sampled.append(perf_counter() - began)
        _, text = await Exposition(processes.read, [sampler]).answer()
        whole.append(perf_counter() - began)
        worked.append(process_time() - busy)
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    print(f"{number:,} jobs of {KINDS} kinds on {QUEUES} queues: {series:,} series")
    print(f"{len(text) / 1024:.0f} KiB; medians of {ROUNDS} scrapes, and the longest:")
    print(f"whole {_ms(whole)}, of the processor {_ms(worked)}, to sample {_ms(sampled)}")


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f} ms ({max(seconds) * 1000:.1f})"


async def _on(url: str, number: int) -> None:
    async with Outlast("shop", settings=Settings(url=url)) as shop:
        await _measure(shop, number)


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=100_000)
    options.add_argument("--url", default="", help="of an empty store; default: a file")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_on(chosen.url or f"sqlite:{Path(folder)}/jobs.db", chosen.jobs))


if __name__ == "__main__":
    main()
