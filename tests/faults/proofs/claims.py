"""Large arguments and results under kills: `python -m tests.faults.proofs.claims folder|s3`.

Processes that enqueue are killed at random moments, some just between the put of the arguments and the publish of the
job; workers are killed; meanwhile a sweep looks all the time for objects of no job, and deletes those that are older
than a few seconds. Then every job that was accepted must have its whole result, no job may be dead, and after a last
sweep no object may be left of which no job is known; after a purge, none at all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from outlast import Outlast, OutlastError, Settings
from outlast.core.claims import CLAIMS, job_of_key
from outlast.core.store.control import Purge
from outlast.core.store.records import Query
from outlast.toolkit.objects.claims import Claims
from outlast.worker.claim_sweep import ClaimSweep
from outlast.worker.store_link import StoreLink
from tests.faults.toolkit import claims_app
from tests.support.polling import until
from tests.support.servers.s3_server import S3Server
from tests.support.supervise import Supervised, supervised

__all__ = ["Verdict", "prove"]

ROOT = Path(__file__).parents[3]
TARGET = "tests.faults.toolkit.claims_app:app"
YOUNG = 15.0
"""Seconds that the sweep of the proof leaves objects alone: no publish of the proof takes as long."""


@dataclass(frozen=True)
class Verdict:
    """What came of a run. lost: accepted jobs without their whole result; dead: jobs that ended otherwise.

    between: puts whose process was killed before the publish; swept: objects of no job that were deleted; orphans:
    those that are left after the last sweep; rest: objects after the purge of all jobs.
    """

    accepted: int
    worker_kills: int
    client_kills: int
    between: int
    swept: int
    lost: int
    dead: int
    orphans: int
    rest: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, and nothing is left."""
        return (
            self.accepted > 0
            and self.swept >= self.between
            and (self.lost, self.dead, self.orphans, self.rest) == (0, 0, 0, 0)
        )


class _Client:
    """A process that enqueues."""

    def __init__(self, environ: dict[str, str], first: int, count: int, how: str) -> None:
        command = [sys.executable, "-m", "tests.faults.toolkit.claims_app", str(first), str(count), how]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
        )

    def lines(self, most: int) -> list[str]:
        """Return what it prints, `most` lines at most; fewer when it has ended."""
        assert self.process.stdout is not None
        found = [line.strip() for _, line in zip(range(most), self.process.stdout, strict=False)]
        return [line for line in found if line]

    def kill(self) -> list[str]:
        """Kill it; return what it had printed."""
        self.process.kill()
        rest, _ = self.process.communicate()
        return [line for line in rest.splitlines() if line]


async def prove(
    url: str, objects: str, folder: Path, *, jobs: int, clients: int, between: int, kills: int, seed: int = 2026
) -> Verdict:
    """Enqueue `jobs` jobs from `clients` processes that are killed, with `kills` kills of workers; return the verdict.

    between: processes that are killed after the put, with five jobs each.
    """
    began, rng = time.monotonic(), Random(seed)
    environ = {
        "OUTLAST_URL": url,
        "OUTLAST_OBJECTS_URL": objects,
        "OUTLAST_OBJECTS_OVER": "1000",
        "OUTLAST_LEASE": "2",
    }
    judge = Outlast("claims", settings=Settings(url=url, objects_url=objects, objects_over=1000))
    runtime = await judge.runtime()
    sweeping = asyncio.create_task(_sweep_always(judge))
    with ExitStack() as stack:
        running = stack.enter_context(supervised(TARGET, environ, folder / "log", processes=2, concurrency=8))
        killing = asyncio.create_task(_kill_workers(judge, running, kills, rng))
        accepted = await asyncio.to_thread(_enqueue, environ, jobs, clients, rng)
        hung = await asyncio.to_thread(_hang, environ, between)
        worker_kills = await killing
        records = runtime.store.records
        lost = 0
        for job_id in sorted(accepted):
            number = int(job_id.rpartition("-")[2])
            try:
                lost += await judge.handle(job_id).result(120) != claims_app.answer_of(number)
            except OutlastError as error:
                print(f"{job_id}: {error}")
                lost += 1
        await until(lambda: _is_idle(judge), "nothing runs any more")
    sweeping.cancel()
    swept = (await asyncio.gather(sweeping, return_exceptions=True))[0]
    assert isinstance(swept, int), swept
    counts = await records.count(Query(queue="work"))
    dead = sum(number for state, number in counts.items() if state != "succeeded")
    swept += await _sweep(judge, -5.0)
    known = [record.id for record in await records.get(sorted(await _jobs_with_objects(judge))) if record is not None]
    orphans = len(await _jobs_with_objects(judge) - set(known))
    await runtime.store.control.apply([Purge(queue="work")])
    await _sweep(judge, -5.0)
    rest = len(await _jobs_with_objects(judge))
    await judge.close()
    took = round(time.monotonic() - began, 1)
    return Verdict(len(accepted), worker_kills, clients, hung, swept, lost, dead, orphans, rest, took)


def _enqueue(environ: dict[str, str], jobs: int, clients: int, rng: Random) -> set[str]:
    """Let processes enqueue, kill each before its end, and let another one go on; return what was accepted."""
    accepted: set[str] = set()
    share = jobs // clients
    for number in range(clients):
        client = _Client(environ, number * share, share, "enqueue")
        accepted.update(client.lines(rng.randrange(1, share)))
        accepted.update(client.kill())
        again = _Client(environ, number * share, share, "enqueue")  # what was stored answers with its id
        accepted.update(again.lines(share))
        accepted.update(again.kill())
    assert len(accepted) == share * clients, len(accepted)
    return accepted


def _hang(environ: dict[str, str], between: int) -> int:
    for number in range(between):
        client = _Client(environ, 1_000_000 + number * 5, 5, "hang")
        assert client.lines(1) == ["put"]
        client.kill()
    return between * 5


async def _kill_workers(judge: Outlast, running: Supervised, kills: int, rng: Random) -> int:
    """Kill workers, each time after both have come up: a supervisor gives up on workers that never do."""
    for _ in range(kills):
        await until(lambda: _consumers(judge, 2), "both workers consume")
        await asyncio.sleep(rng.random())
        workers = await until(running.workers, "a worker runs")
        with suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
    return kills


async def _consumers(judge: Outlast, number: int) -> bool:
    stats = await (await judge.runtime()).store.broker.stats(["work"])
    return "work" in stats and stats["work"].consumers >= number


async def _is_idle(judge: Outlast) -> bool:
    stats = (await (await judge.runtime()).store.broker.stats(["work"]))["work"]
    return stats.depth == 0


async def _sweep_always(judge: Outlast) -> int:
    deleted = 0
    try:
        while True:
            deleted += await _sweep(judge, YOUNG)
            await asyncio.sleep(0.2)  # the sweep of workers is an hour apart: this one meets each moment of a job
    except asyncio.CancelledError:
        return deleted


async def _sweep(judge: Outlast, keep: float) -> int:
    """Delete objects of no known job that are older than `keep` seconds."""
    runtime = await judge.runtime()
    claims = Claims(runtime.claims.url, clock=runtime.clock, timeout=30, over=1000, keep=keep)
    link = StoreLink(runtime.store, runtime.clock, random.Random(1), reconnect=None, patience=30)
    return await ClaimSweep(claims, link, {"work"}, random.Random(1), again=0.2).sweep()


async def _jobs_with_objects(judge: Outlast) -> set[str]:
    pages = judge.composer.claims.link.parts(lambda place: place.pages(CLAIMS))
    return {job_of_key(each.key) or each.key async for page in pages for each in page}


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", choices=["folder", "s3"])
    parser.add_argument("--jobs", type=int, default=1200)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--between", type=int, default=10)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    numbers = {name: getattr(given, name) for name in ("jobs", "clients", "between", "kills", "seed")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        objects = f"file:{folder}/objects"
        if given.place == "s3":
            server = S3Server()
            stack.callback(server.remove)
            server.start()
            os.environ.update(server.environment)
            objects = server.url("claims")
        verdict = asyncio.run(prove(f"sqlite:{folder}/jobs.db", objects, Path(folder), **numbers))
    print(f"seed {given.seed}, {given.place}: {verdict}")
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
