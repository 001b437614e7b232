"""Kill workers all the time while jobs flow, and check the ledger: `python -m tests.faults.kill_storm --help`.

Every job writes its start and its end; the storm writes each enqueue and each kill with all the processes it took.
`check` reads nothing but that file and the records' ends, so a ledger that was kept can be checked again.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil

from outlast import Outlast
from outlast.settings import Settings
from tests.support.faults_app import app as declared
from tests.support.faults_app import brief
from tests.support.ledger import Entry, Ledger
from tests.support.supervise import Supervised, supervised

__all__ = ["Verdict", "check", "storm", "unpack"]

TARGET = "tests.support.faults_app:app"


@dataclass
class Verdict:
    """What a ledger shows.

    delays: seconds from the kill of one worker to the next start of each of its orphans, where no other kill fell
    between.
    """

    jobs: int = 0
    kills: int = 0
    lost: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    starts: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether the promise held."""
        return not (self.lost or self.phantom or self.dead or self.unexplained)

    def __str__(self) -> str:
        ordered = sorted(self.delays)
        p99 = ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0
        middle = statistics.median(ordered) if ordered else 0.0
        return (
            f"jobs {self.jobs}, kills {self.kills}, starts {self.starts}, lost {len(self.lost)}, "
            f"phantom {len(self.phantom)}, healthy jobs dead {len(self.dead)}, "
            f"starts that no kill explains {len(self.unexplained)}; orphans of one killed worker: {len(ordered)}, "
            f"again after {middle:.3f} s (median), {p99:.3f} s (p99)"
        )


def check(entries: list[Entry]) -> Verdict:
    """Judge a ledger: words enqueued, start, end, dead (by job), kill and kill-all (name: pids, joined by commas)."""
    verdict = Verdict()
    enqueued = {each.name for each in entries if each.word == "enqueued"}
    killed: dict[int, Entry] = {}
    for each in entries:
        if each.word in ("kill", "kill-all"):
            verdict.kills += 1
            killed.update({int(pid): each for pid in each.name.split(",")})
    starts: dict[str, list[Entry]] = defaultdict(list)
    ended: dict[str, list[Entry]] = defaultdict(list)
    for each in entries:
        if each.word == "start":
            starts[each.name].append(each)
        elif each.word == "end":
            ended[each.name].append(each)
        elif each.word == "dead":
            verdict.dead.append(each.name)
    verdict.jobs, verdict.starts = len(enqueued), sum(map(len, starts.values()))
    verdict.lost = sorted(enqueued - ended.keys())
    verdict.phantom = sorted((starts.keys() | ended.keys()) - enqueued)
    for name, runs in starts.items():
        for before, after in pairwise(runs):
            kill = killed.get(before.pid)
            if kill is None or not before.at <= kill.at <= after.at:
                verdict.unexplained.append(name)
            elif kill.word == "kill" and not any(kill.at < other.at <= after.at for other in killed.values()):
                verdict.delays.append(after.at - kill.at)
    return verdict


async def storm(folder: Path, *, jobs: int, kills: int, seed: int, pause: float = 0.5) -> list[Entry]:
    """Let `jobs` jobs flow in bursts of 200 through two workers while `kills` kills fall; return the ledger.

    pause: mean seconds between two kills.

    Each kill takes one worker with all it started; every tenth the supervisor and everything below it. A child in
    which a job runs alone is never the target itself.
    """
    dice = random.Random(seed)
    ledger = Ledger(folder / "ledger")
    url = f"sqlite:{folder}/jobs.db"
    app = Outlast("faults", settings=Settings(url=url))
    for declaration in declared.registry.declarations.values():
        app.registry.add(declaration)
    environ = {"OUTLAST_FAULTS_URL": url, "OUTLAST_TEST_LEDGER": str(ledger.path)}
    ids: list[str] = []
    fed = asyncio.Event()

    async def feed() -> None:
        for first in range(0, jobs, 200):
            names = [f"job-{n}" for n in range(first, min(first + 200, jobs))]
            for name in names:
                ledger.write("enqueued", name)
            messages = [brief.message(name, dice.uniform(0.01, 0.1)) for name in names]
            ids.extend(each.id for each in await app.enqueue_many(messages))
            await asyncio.sleep(1.0)
        fed.set()

    async with app:
        feeding = asyncio.create_task(feed())
        done = 0
        while done < kills:
            with supervised(TARGET, environ, folder / "log", processes=2) as running:
                while done < kills:
                    await asyncio.sleep(pause * dice.uniform(0.4, 1.6))
                    whole = done % 10 == 9
                    if _kill(running, ledger, dice, whole=whole):
                        done += 1
                        if whole:
                            break
        await fed.wait()
        await feeding
        with supervised(TARGET, environ, folder / "log", processes=2):
            store = (await app.runtime()).store
            for first in range(0, len(ids), 1000):
                for record in await store.wait(ids[first : first + 1000], 300):
                    if record is not None and record.state != "succeeded":
                        ledger.write("dead", record.id)
    return ledger.read()


def _kill(running: Supervised, ledger: Ledger, dice: random.Random, *, whole: bool) -> bool:
    """Kill one worker, or all; tell whether there was one. Every pid is written down before the first dies."""
    workers = running.workers()
    if not workers:
        return False
    if whole:
        victims = running.family()
    else:
        with suppress(psutil.NoSuchProcess):
            worker = psutil.Process(dice.choice(workers))
            victims = [worker, *worker.children(recursive=True)]
    # The list is taken before the blow: a child that is born between is killed by the supervisor, and explained by
    # nothing; so the worker stands still first.
    for each in victims:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    everyone = running.family() if whole else [victims[0], *_below(victims[0])]
    ledger.write("kill-all" if whole else "kill", ",".join(str(each.pid) for each in everyone))
    for each in everyone:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    if whole:
        running.process.wait()
    return True


def _below(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return list(process.children(recursive=True))
    return []


def unpack(kept: Path) -> list[Entry]:
    """Return a ledger that was kept."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ledger").write_bytes(gzip.decompress(kept.read_bytes()))
        return Ledger(Path(folder, "ledger")).read()


def main() -> int:
    """Run a storm, or check a ledger that was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="write the ledger here, gzipped")
    parser.add_argument("--check", type=Path, help="check this ledger and run nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.check is not None:
            entries = unpack(options.check)
        else:
            work = storm(Path(folder), jobs=options.jobs, kills=options.kills, seed=options.seed, pause=options.pause)
            os.environ["OUTLAST_FAULTS_URL"] = f"sqlite:{folder}/jobs.db"
            entries = asyncio.run(work)
            if options.keep is not None:
                options.keep.write_bytes(gzip.compress(Path(folder, "ledger").read_bytes(), mtime=0))
    verdict = check(entries)
    print(verdict)
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
