"""What a real Prometheus has seen of a shop, against its ledger: `python -m tests.faults.proofs.observed --kills 200`.

Two API processes take orders, three worker processes do them, are recycled after some hundred jobs and killed with
SIGKILL at random moments; a Prometheus with the shipped rules scrapes the three addresses. In the end, the outcome
totals are those of the ledger, the counted runs lack at most one batch of a kill, nothing is shown to be waiting, and
two scrapes after the end of all processes no series has a value.

Then a service is started ten times, and stopped, while it does jobs: no alert may fire. One SIGKILL of a worker fires
exactly one, and each dead letter fires one, the first of a fresh start too.
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
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from outlast.demo.processes import DemoProcess
from outlast.demo.run_files import free_ports
from outlast.observe.promql import INTERVAL
from outlast.observe.rules import rules_text
from outlast.worker.slot_groups import AHEAD
from tests.support.command import ROOT
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.servers.prometheus_server import PrometheusServer

__all__ = ["Observed", "Restarted", "observed", "restarted"]

APP = "tests.support.apps.observed_app"
SLOTS = 20
BATCH = SLOTS * (1 + AHEAD)
"""Runs of a worker process whose settlements may be under way, stored and not counted, when it is killed."""
RUNS = {"send": 1, "dies": 1, "render": 2}
ENDS = {"send": ("mail", "succeeded"), "dies": ("mail", "dead"), "render": ("pdf", "succeeded")}
BACKLOG = 1500
WAITING = (
    "outlast_queue_depth",
    "outlast_queue_jobs",
    "outlast_queue_oldest_seconds",
    "outlast_worker_busy_slots",
)
TOTALS = "max by (queue, kind, outcome) (outlast_jobs_ended_total) > 0"


@dataclass
class Observed:
    """What came of a run: `faults` is empty when all figures are right."""

    kills: int
    accepted: Counter[str] = field(default_factory=Counter)
    workers: set[int] = field(default_factory=set)
    runs: float = 0
    waits: float = 0
    requests: float = 0
    faults: list[str] = field(default_factory=list)

    @property
    def expected_runs(self) -> int:
        return sum(RUNS[kind] * number for kind, number in self.accepted.items())


class Service:
    """A shop on one file, with a Prometheus of its own that scrapes it."""

    def __init__(self, folder: Path, stack: AsyncExitStack, rng: random.Random, *, max_jobs: int = 0) -> None:
        self.folder = folder
        self._stack = stack
        self.ports = free_ports(3, rng)
        self._environ = {
            "OBSERVED_URL": f"sqlite:{folder}/jobs.db",
            "PYTHONPATH": str(ROOT),
        }
        self._max_jobs = max_jobs
        rules = folder / "outlast.rules.yml"
        text = rules_text()
        assert f"interval: {INTERVAL}s\n" in text
        rules.write_text(text.replace(f"interval: {INTERVAL}s\n", "interval: 250ms\n"), encoding="utf-8")
        self.prometheus = PrometheusServer(folder / "prometheus", rules=[rules])
        self.worker: DemoProcess | None = None

    async def start(self) -> None:
        """Start all of it."""
        await asyncio.to_thread(self.prometheus.start)
        self._stack.callback(self.prometheus.stop)
        self.prometheus.scrape(*(f"127.0.0.1:{port}" for port in self.ports))
        for number, port in enumerate(self.ports[1:]):
            arguments = ["uvicorn", f"{APP}:api", "--port", str(port), "--no-access-log"]
            api = DemoProcess(f"api-{number}", arguments, self.folder, self._environ)
            self._stack.push_async_callback(api.stop)
            await api.start(port=port, deadline=120)
        await self.start_worker()

    async def start_worker(self) -> None:
        """Start the supervisor, and wait until it has been scraped."""
        arguments = ["outlast", "worker", f"{APP}:shop", "--processes", "3", "--concurrency", str(SLOTS)]
        arguments += ["--listen", str(self.ports[0])]
        if self._max_jobs:
            arguments += ["--max-jobs", str(self._max_jobs)]
        self.worker = DemoProcess("worker", arguments, self.folder, self._environ)
        self._stack.push_async_callback(self.worker.stop)
        await self.worker.start(port=self.ports[0], deadline=120)
        await self.see('sum(outlast_worker_processes{state="consuming"})', 3)

    async def stop_worker(self) -> None:
        """Stop the supervisor as an operator does."""
        assert self.worker is not None
        await self.worker.stop(grace=60)

    async def worker_pids(self, client: httpx2.AsyncClient) -> list[int]:
        """Return the pids of the worker processes that consume: a supervisor gives up when none ever comes so far."""
        answer = await client.get(f"http://127.0.0.1:{self.ports[0]}/readyz?verbose")
        return [each["pid"] for each in answer.json()["workers"] if each["state"] == "consuming"]

    async def purge_dead(self) -> None:
        """Remove all dead letters, as an operator does."""
        words = ["outlast", "--url", self._environ["OBSERVED_URL"], "dead", "purge", "--all", "--yes"]
        purge = DemoProcess("purge", words, self.folder, self._environ)
        await purge.start()
        assert await purge.wait() == 0, purge.tail()

    async def order(self, client: httpx2.AsyncClient, kind: str, number: int, turn: int) -> int:
        """Order jobs from one of the two APIs; return how many were accepted."""
        answer = await client.post(f"http://127.0.0.1:{self.ports[1 + turn % 2]}/orders/{kind}/{number}")
        answer.raise_for_status()
        accepted: int = answer.json()["accepted"]
        return accepted

    def number(self, expr: str) -> float:
        """Return the one value of an expression, 0 when it has none."""
        return next(iter(self.prometheus.numbers(expr)), 0.0)

    async def see(self, expr: str, value: float, within: float = 300) -> None:
        """Wait until an expression has this value."""
        await until(lambda: self.number(expr) == value, f"{expr} is {value}", within=within)

    async def scrapes(self, number: int) -> None:
        """Wait until each address has been scraped so many times more, or found closed."""
        began = time.time()

        def scraped() -> bool:
            seconds = int(time.time() - began)
            return seconds > 0 and bool(self.prometheus.query(f"min(count_over_time(up[{seconds}s])) >= {number}"))

        await until(scraped, "scrapes")

    async def samples(self) -> None:
        """Wait until each address shows a sample of the store that was begun after this call.

        One that took more than 50 ms is shown for twenty times as long.
        """
        began = time.time()
        await until(
            lambda: self.number("max(outlast_sample_age_seconds)") + 1 < time.time() - began, "samples of this moment"
        )

    def totals(self) -> dict[tuple[str, str, str], int]:
        """Return the outcome totals that are above 0."""
        return {
            (each["metric"]["queue"], each["metric"]["kind"], each["metric"]["outcome"]): int(float(each["value"][1]))
            for each in self.prometheus.query(TOTALS)
        }


@asynccontextmanager
async def service(folder: Path, rng: random.Random, *, max_jobs: int = 0) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        found = Service(folder, stack, rng, max_jobs=max_jobs)
        await found.start()
        yield found


async def observed(folder: Path, kills: int, rng: random.Random, *, max_jobs: int = 400) -> Observed:
    """Kill workers under load; compare what Prometheus has with what was accepted."""
    found = Observed(kills)
    async with service(folder, rng, max_jobs=max_jobs) as shop, httpx2.AsyncClient(timeout=120) as client:
        await _kill_under_load(shop, client, found, rng)
        wanted = {(ENDS[kind][0], kind, ENDS[kind][1]): number for kind, number in found.accepted.items() if number}
        await until(lambda: shop.number("max(outlast_queue_depth) + sum(outlast_worker_busy_slots)") == 0, "a drain")
        await until(lambda: sum(shop.totals().values()) >= sum(wanted.values()), "all ends", within=120)
        await shop.samples()
        await shop.scrapes(2)
        _compare(shop, found, wanted)
        await shop.stop_worker()
        shop.prometheus.scrape(*(f"127.0.0.1:{port}" for port in shop.ports))
        await shop.scrapes(2)
        left = shop.prometheus.query(f'{{__name__=~"outlast_.*",instance="127.0.0.1:{shop.ports[0]}"}}')
        if left:
            found.faults.append(f"{len(left)} series of a worker that has ended: {left[:3]}")
    return found


async def _kill_under_load(shop: Service, client: httpx2.AsyncClient, found: Observed, rng: random.Random) -> None:
    done, last, turn = 0, dict[tuple[str, str, str], int](), 0
    while done < found.kills:
        turn += 1
        if shop.number("max(outlast_queue_depth)") < BACKLOG:
            for kind, number in (("send", 200), ("render", 50), ("dies", 10)):
                found.accepted[kind] += await shop.order(client, kind, number, turn)
        await asyncio.sleep(rng.uniform(0.05, 0.4))
        found.workers.update(pids := await shop.worker_pids(client))
        if pids:
            with suppress(ProcessLookupError):  # it has ended since it was listed
                os.kill(rng.choice(pids), signal.SIGKILL)
                done += 1
        totals = shop.totals()
        fallen = [key for key, number in last.items() if totals.get(key, 0) < number]
        if fallen and totals:
            found.faults.append(f"totals fell at kill {done}: {fallen}")
        last = totals or last


def _compare(shop: Service, found: Observed, wanted: dict[tuple[str, str, str], int]) -> None:
    totals = shop.totals()
    if totals != wanted:
        found.faults.append(f"totals {totals}, accepted and ended {wanted}")
    for metric in WAITING:
        if shop.number(f"max({metric})") > 0:
            found.faults.append(f"{metric} is above 0 after the drain: {shop.prometheus.query(metric + ' > 0')}")
    found.runs = shop.number("sum(outlast_kind_runs_total)")
    found.waits = shop.number("sum(outlast_job_wait_seconds_count)")
    least = found.expected_runs - found.kills * BATCH
    for name, number in (("runs", found.runs), ("histogram of waits", found.waits)):
        if number < least:
            found.faults.append(f"{name}: {number:,.0f}, and at least {least:,} should be counted")
    found.requests = shop.number('sum(outlast_http_request_seconds_count{route="/orders/{kind}/{number}"})')
    if not found.requests:
        found.faults.append("no request was measured")


@dataclass
class Restarted:
    """What fired: after clean restarts, and after one kill."""

    clean: list[str] = field(default_factory=list)
    killed: list[dict[str, str]] = field(default_factory=list)


async def restarted(folder: Path, times: int, rng: random.Random) -> Restarted:
    """Restart a service so many times, with jobs under way, and then kill one worker."""
    found = Restarted()
    async with service(folder, rng) as shop, httpx2.AsyncClient(timeout=120) as client:
        accepted = 0
        for turn in range(times):
            accepted += await shop.order(client, "send", 300, turn)
            await shop.stop_worker()
            await shop.start_worker()
        await shop.see('max(outlast_jobs_ended_total{kind="send",outcome="succeeded"})', accepted)
        await shop.scrapes(4)
        fired = shop.prometheus.query('count_over_time(ALERTS{alertstate="firing"}[1h])')
        found.clean = [each["metric"]["alertname"] for each in fired]
        os.kill((await shop.worker_pids(client))[0], signal.SIGKILL)
        await until(shop.prometheus.alerts, "an alert")
        await shop.see('sum(outlast_worker_processes{state="consuming"})', 3)
        await shop.scrapes(4)
        found.killed = [each["labels"] for each in shop.prometheus.alerts()]
    return found


async def lettered(folder: Path, rng: random.Random) -> list[list[str]]:
    """Let a job die, after a fresh start and again after a restart; return what fired then, and between.

    Between, the dead letter is removed: else the alert would go on.
    """
    found = list[list[str]]()
    async with service(folder, rng) as shop, httpx2.AsyncClient(timeout=120) as client:

        def fires() -> list[str]:
            return sorted(each["labels"]["alertname"] for each in shop.prometheus.alerts())

        for turn in range(2):
            await shop.order(client, "dies", 1, turn)
            found.append(await until(fires, "an alert"))
            await shop.purge_dead()
            await until(lambda: not fires(), "the end of the alert")
            if not turn:
                await shop.stop_worker()
                await shop.start_worker()
                await shop.scrapes(2)
                found.append(fires())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(origin(options.seed), flush=True)
    good, rng = True, random.Random(options.seed)
    if options.kills:
        with tempfile.TemporaryDirectory(prefix="observed-") as folder:
            seen = asyncio.run(observed(Path(folder), options.kills, rng))
        missing = seen.expected_runs - seen.runs
        print(f"accepted {dict(seen.accepted)}; {seen.kills} kills of {len(seen.workers)} workers")
        print(f"runs counted {seen.runs:,.0f}, {missing:,.0f} missing: {missing / seen.kills:.1f} of a kill")
        print(f"waits counted {seen.waits:,.0f}; requests measured {seen.requests:,.0f}; faults {seen.faults}")
        good = not seen.faults
    if options.restarts:
        with tempfile.TemporaryDirectory(prefix="observed-") as folder:
            ended = asyncio.run(restarted(Path(folder), options.restarts, rng))
        with tempfile.TemporaryDirectory(prefix="observed-") as folder:
            letters = asyncio.run(lettered(Path(folder), rng))
        print(f"a dead letter after a fresh start, a restart, another one: {letters}")
        good = good and letters == [["OutlastDeadLetters"], [], ["OutlastDeadLetters"]]
        print(f"{options.restarts} clean restarts: alerts {ended.clean}; one SIGKILL: {ended.killed}")
        good = good and not ended.clean and len(ended.killed) == 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
