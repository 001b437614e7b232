"""The CPU of `outlast health` beside jobs that use all of it, an outage of the store, and a claimer that freezes.

`python -m tests.faults.proofs.health [--probes 20] [--outage 75]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from outlast import Settings
from outlast.observe.health.judge import PATIENCE
from outlast.observe.health.probe import ask
from tests.support.apps import probed_app
from tests.support.apps.probed_app import brief, burns
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.servers.redis_fleet import node
from tests.support.sqlite_file import locked
from tests.support.stage import Stage

TARGET = "tests.support.apps.probed_app:app"
MOST_CPU = 0.1
MOST_SECONDS = 75.0

Store = tuple[str, Callable[[], AbstractContextManager[Any]]]
"""The URL of a store, and what makes it go away for a block."""


@contextmanager
def _locked(folder: Path) -> Iterator[Store]:
    file = folder / "jobs.db"
    yield f"sqlite:{file}", lambda: locked(file)


@contextmanager
def _redis(folder: Path, *, hangs: bool) -> Iterator[Store]:
    with node(folder / "redis") as server:

        @contextmanager
        def away() -> Iterator[None]:
            if hangs:
                server.signal(signal.SIGSTOP)
            else:
                server.kill()
            yield
            if hangs:
                server.signal(signal.SIGCONT)
            else:
                server.start()

        yield server.url, away


WAYS: Final[dict[str, Callable[[Path], AbstractContextManager[Store]]]] = {
    "the SQLite file locked": _locked,
    "Redis stopped (SIGSTOP)": partial(_redis, hangs=True),
    "Redis killed": partial(_redis, hangs=False),
}


def _stage(folder: Path, url: str = "") -> Stage:
    url = url or f"sqlite:{folder}/jobs.db"
    found = Stage(
        probed_app.app, TARGET, folder, Settings(url=url, enqueue_timeout=60), {"OUTLAST_URL": url}, whole=True
    )
    found.app.guard("payments", breaker=True)
    return found


def _probed(path: Path) -> tuple[float, float, int]:
    """Run `outlast health`; return its CPU seconds, its seconds and its exit code."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    words = [str(Path(sys.executable).with_name("outlast")), "health", "--socket", str(path), "--timeout", "60"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.monotonic() - began, done.returncode


async def _busy(folder: Path, probes: int) -> bool:
    """Probe while a job in each of as many workers as there are cores blocks the loop with computing."""
    stage, path, cores = _stage(folder), folder / "health", os.cpu_count() or 1
    with stage.start(processes=cores, concurrency=1, health_socket=str(path)):
        await stage.app.send([burns.message(str(number)) for number in range(cores)])
        await until(lambda: len(stage.ledger.names("start")) == cores, "all cores are busy")
        found = [await asyncio.to_thread(_probed, path) for _ in range(probes)]
        stage.ledger.write("open", "all")
    await stage.app.close()
    used, lasted, codes = zip(*found, strict=True)
    print(
        f"outlast health, {cores} cores busy, {probes} times: CPU {1000 * statistics.median(used):.0f} ms median, "
        f"{1000 * max(used):.0f} ms most; answer after {statistics.median(lasted):.2f} s median, {max(lasted):.2f} s "
        f"most; exit codes {sorted(set(codes))}",
        flush=True,
    )
    return max(used) <= MOST_CPU and set(codes) == {0}


async def _away(folder: Path, way: str, outage: float) -> bool:
    """Probe each second while the store is away; return whether no answer was a reason to restart."""
    path = folder / "health"
    with WAYS[way](folder) as (url, away), (stage := _stage(folder, url)).start(health_socket=str(path)):
        await stage.app.send([brief.message("before")])
        await until(lambda: stage.ledger.names("start")["before"], "it works")
        answers: list[bool | None] = []
        unready = 0
        with away():
            end = time.monotonic() + outage
            while time.monotonic() < end:
                answers.append((await asyncio.to_thread(ask, str(path), "live", 60.0))[0])
                unready += not (await asyncio.to_thread(ask, str(path), "ready", 60.0))[0]
                await asyncio.sleep(1)
        await stage.app.send([brief.message("after")])
        await until(lambda: stage.ledger.names("start")["after"], "it works again")
        await stage.app.close()
    bad = sum(not each for each in answers)
    print(
        f"{way} for {outage:.0f} s: {len(answers)} answers, {bad} of them a reason to restart, "
        f"{unready} times not ready",
        flush=True,
    )
    return not bad and unready > 0


async def _frozen(folder: Path) -> bool:
    """Freeze the claimer of a worker with the thresholds that are shipped; return whether it is found in time."""
    stage, path = _stage(folder), folder / "health"
    with stage.start(health_socket=str(path)):
        await stage.app.send([brief.message("first")])
        await until(lambda: stage.ledger.names("start")["first"], "it works")
        stage.ledger.write("freeze", "claimer")
        await stage.app.send([brief.message("second")])  # ends the claim that waits, if it was not frozen before
        await until(lambda: stage.ledger.read("frozen"), "it is frozen")
        began = stage.ledger.read("frozen")[0].at
        await stage.app.send([brief.message("third")])
        text = await until(lambda: _told_when_bad(path), "it is unhealthy", within=2 * MOST_SECONDS)
        seconds = time.monotonic() - began
    await stage.app.close()
    print(f"a frozen claimer, patience {PATIENCE:.0f} s: unhealthy after {seconds:.1f} s: {text}", flush=True)
    return seconds <= MOST_SECONDS


async def _told_when_bad(path: Path) -> str:
    good, text = await asyncio.to_thread(ask, str(path), "live", 60.0)
    return "" if good else text


async def _main(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="health-") as folder:
        places = [Path(folder) / str(number) for number in range(2 + len(WAYS))]
        for place in places:
            place.mkdir()
        held = [await _busy(places.pop(), options.probes), await _frozen(places.pop())]
        held += [await _away(places.pop(), way, options.outage) for way in WAYS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=20)
    parser.add_argument("--outage", type=float, default=75.0)
    given = parser.parse_args()
    print(origin(), flush=True)
    sys.exit(asyncio.run(_main(given)))
