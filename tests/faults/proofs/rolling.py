"""Deploys two versions of an app in turn, under load: `python -m tests.faults.proofs.rolling --swaps 20`.

Each swap is a reload of the running service (SIGHUP, the link "current" leads to the other release) or a second
service beside it that takes over. Both versions of the API send jobs all the time, so that jobs of the second version
wait while the first one is deployed. At the end a ledger and the records say what became of each job.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from outlast import Outlast
from outlast.core.store.records import JobRecord
from tests.support.ledger import Ledger
from tests.support.origin import origin
from tests.support.polling import until

__all__ = ["Figures", "roll"]

_ROOT = Path(__file__).parents[3]
_RELEASES = _ROOT / "tests/faults/rolling/releases"
_MOST_READY = 200
_EACH = 40


@dataclass
class Figures:
    """What a series of swaps came to. gap: the longest time in which no job started, seconds."""

    swaps: int
    jobs: int
    lost: int
    twice: int
    burned: int
    crossed: int
    parked: int
    gap: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.swaps} swaps in {self.seconds:.0f} s, {self.jobs} jobs: {self.lost} lost, {self.twice} run twice, "
            f"{self.burned} with an attempt burned; {self.crossed} run by another version than sent them, at most "
            f"{self.parked} parked, longest time without a start {self.gap:.2f} s"
        )


class Service:
    """One `outlast worker` of the release that the link leads to."""

    def __init__(self, current: Path, log: Path, *, processes: int) -> None:
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "outlast", "worker", "rolling_app:app", "--processes", str(processes)],
                cwd=current,
                env={**os.environ, "PWD": str(current), "PYTHONPATH": os.pathsep.join([str(_ROOT), *_path()])},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    def workers(self) -> set[int]:
        """The pids of its worker processes."""
        with suppress(psutil.NoSuchProcess):
            return {each.pid for each in psutil.Process(self.process.pid).children()}
        return set()

    async def reload(self) -> None:
        """Replace its workers; return when all are new."""
        before = self.told().count("reloaded: ")
        self.process.send_signal(signal.SIGHUP)
        await until(lambda: self.told().count("reloaded: ") > before, "the service has reloaded", within=60)

    async def stop(self) -> None:
        """Ask it to stop; return when it has, in peace."""
        self.process.terminate()
        await until(lambda: self.process.poll() is not None, "the old service has stopped", within=60)
        assert self.process.returncode == 0, self.told()

    def told(self) -> str:
        """What it logged."""
        return self.log.read_text()

    def kill(self) -> None:
        """End what is left of it."""
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.wait()


class Tail:
    """Reads a ledger that grows: how often each process has written each word."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._counts: Counter[tuple[int, str]] = Counter()

    def count(self, pids: set[int], word: str) -> int:
        """Return how many lines these processes have written with this word."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                whole = file.read().rpartition(b"\n")[0]
            self._at += len(whole) + bool(whole)
            for line in whole.splitlines():
                kind, _, pid, _ = line.split()
                self._counts[int(pid), kind.decode()] += 1
        return sum(self._counts[pid, word] for pid in pids)


class Load:
    """Both versions of the API, which send jobs all the time."""

    def __init__(self, seed: int) -> None:
        from tests.faults.rolling.releases.v1 import rolling_app as one
        from tests.faults.rolling.releases.v2 import rolling_app as two

        self.ids: dict[str, str] = {}
        self.sent: dict[str, str] = {}
        self.apps: tuple[Outlast, Outlast] = (one.app, two.app)
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._one, self._two = one, two

    def _message(self) -> tuple[Outlast, str, str, Any]:
        """Return the app, its version, a name and a message of one more job."""
        number = next(self._numbers)
        version = self._rng.choice(("v1", "v2"))
        name, seconds = f"{version}-{number}", self._rng.choice((0.0, 0.0, 0.01, 0.3))
        first = version == "v1"
        if number % 100 == 0:
            page = self._one.render.message(name) if first else self._two.render.message(name, "A5")
            return self.apps[not first], version, name, page
        if number % 2:
            mail = (self._one.send_mail if first else self._two.send_receipt).message(name, seconds)
            return self.apps[not first], version, name, mail
        bill = self._one.bill.message(name, int(seconds * 1000)) if first else self._two.bill.message(name, seconds)
        return self.apps[not first], version, name, bill

    async def send(self, count: int) -> None:
        """Enqueue so many jobs."""
        for _ in range(count):
            app, version, name, message = self._message()
            (handle,) = await app.send([message])
            self.ids[name] = handle.id
            self.sent[name] = version

    async def records(self) -> list[JobRecord | None]:
        """Return the records of all that was sent."""
        store = (await self.apps[1].runtime()).store
        found: list[JobRecord | None] = []
        ids = list(self.ids.values())
        for start in range(0, len(ids), 500):
            found += await store.records.get(ids[start : start + 500])
        return found

    async def close(self) -> None:
        """Close both apps' stores."""
        for app in self.apps:
            await app.close()


async def roll(folder: Path, *, swaps: int, processes: int = 2, seed: int = 1) -> Figures:
    """Deploy v1, then swap the versions `swaps` times under load, v2 at last; return what came of it.

    OUTLAST_ROLLING_URL and OUTLAST_TEST_LEDGER must be set. Raise AssertionError when a deploy does not come through.
    """
    ledger, load = Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"])), Load(seed)
    tail = Tail(ledger.path)
    began = time.monotonic()
    parked = 0

    async def pace() -> None:
        nonlocal parked
        store = (await load.apps[0].runtime()).store
        while True:
            stats = (await store.broker.stats([])).values()
            parked = max(parked, sum(each.parked for each in stats))
            if sum(each.depth - each.parked for each in stats) < _MOST_READY:
                await load.send(5)
            await asyncio.sleep(0.01)

    with _services(folder, processes) as services:
        point(folder, "v1")
        running = services.start()
        sending = asyncio.create_task(pace())
        try:
            for swap in range(swaps):
                await _ran(tail, running, "v1" if swap % 2 == 0 else "v2")
                point(folder, "v2" if swap % 2 == 0 else "v1")
                if swap % 4 < 2:
                    await running.reload()
                else:
                    fresh = services.start()
                    await _works(tail, fresh)
                    await running.stop()
                    running = fresh
                if sending.done():
                    sending.result()
            if swaps % 2 == 0:
                await _ran(tail, running, "v1")
                point(folder, "v2")
                await running.reload()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        try:
            store = (await load.apps[1].runtime()).store
            ids = list(load.ids.values())
            for start in range(0, len(ids), 500):
                await store.records.wait(ids[start : start + 500], 60)
            found = await load.records()
        finally:
            await load.close()
        await running.stop()
    return _judge(ledger, load, found, swaps=swaps, parked=parked, seconds=time.monotonic() - began)


def _judge(
    ledger: Ledger, load: Load, found: Sequence[JobRecord | None], *, swaps: int, parked: int, seconds: float
) -> Figures:
    starts, ends = ledger.names("start"), ledger.names("v1") + ledger.names("v2")
    by = {entry.name: entry.word for entry in ledger.read() if entry.word != "start"}
    times = [entry.at for entry in ledger.read("start")]
    return Figures(
        swaps=swaps,
        jobs=len(load.ids),
        lost=sum(each is None or each.state != "succeeded" for each in found)
        + sum(ends[name] == 0 for name in load.ids),
        twice=sum(starts[name] > 1 or ends[name] > 1 for name in load.ids),
        burned=sum(each is not None and (each.attempt, each.crashes, each.failures) != (1, 0, ()) for each in found),
        crossed=sum(by.get(name, version) != version for name, version in load.sent.items()),
        parked=parked,
        gap=max((after - before for before, after in itertools.pairwise(times)), default=0.0),
        seconds=seconds,
    )


async def _ran(tail: Tail, service: Service, version: str) -> None:
    """Wait until the service's present workers have done some jobs."""
    await until(lambda: tail.count(service.workers(), version) >= _EACH, f"{version} works", within=60)


async def _works(tail: Tail, service: Service) -> None:
    """Wait until one of the service's workers has started a job."""
    await until(lambda: tail.count(service.workers(), "start"), "the new service works", within=60)


def point(folder: Path, version: str) -> None:
    """Let the link "current" lead to a release, in one step."""
    link = folder / "next"
    link.symlink_to(_RELEASES / version)
    link.replace(folder / "current")


class _Services:
    def __init__(self, folder: Path, processes: int) -> None:
        self._folder = folder
        self._processes = processes
        self.all: list[Service] = []

    def start(self) -> Service:
        log = self._folder / f"service-{len(self.all)}.log"
        self.all.append(Service(self._folder / "current", log, processes=self._processes))
        return self.all[-1]


@contextmanager
def _services(folder: Path, processes: int) -> Iterator[_Services]:
    services = _Services(folder, processes)
    try:
        yield services
    except BaseException:
        for each in services.all:
            print(each.told(), file=sys.stderr)
        raise
    finally:
        for each in services.all:
            each.kill()


def _path() -> list[str]:
    return [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]


def main() -> int:
    """Roll as often as asked, print the figures; 1 when anything was lost, burned or run twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["OUTLAST_ROLLING_URL"] = f"sqlite:{folder}/jobs.db"
        os.environ["OUTLAST_TEST_LEDGER"] = str(folder / "ledger")
        figures = asyncio.run(roll(folder, swaps=given.swaps, processes=given.processes, seed=given.seed))
    print(figures)
    return 1 if figures.lost or figures.twice or figures.burned else 0


if __name__ == "__main__":
    sys.exit(main())
