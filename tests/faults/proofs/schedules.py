"""100,000 ticks over 5 processes with 200 kills, each published once: `python -m tests.faults.proofs.schedules`."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec

from outlast import Outlast
from outlast.core.schedule import ScheduleRecord
from outlast.core.spread import written
from tests.faults.schedules.child import EVERY, make_app
from tests.support.origin import origin
from tests.support.scheduling import scheduler_of

__all__ = ["Verdict", "prove"]


@dataclass(frozen=True)
class Verdict:
    """What came of a run. Each number but `kills`, `ticks` and `seconds` should be 0."""

    ticks: int
    kills: int
    seconds: float
    missing: int
    doubled: int
    foreign: int
    miscounted: int

    @property
    def sound(self) -> bool:
        """Whether each tick was published exactly once."""
        return not (self.missing or self.doubled or self.foreign or self.miscounted)


class _Children:
    """Worker processes, each started anew when it was killed."""

    def __init__(self, path: Path, schedules: int, count: int) -> None:
        self._command = [sys.executable, "-m", "tests.faults.schedules.child", str(path), str(schedules)]
        self._alive = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def kill(self, which: int) -> None:
        """Kill one with SIGKILL when it works, and start the next."""
        line = self._alive[which].stdout
        assert line is not None
        assert line.readline() == b"working\n"
        self._end(which)
        self._alive[which] = self._start()

    def _end(self, which: int) -> None:
        child = self._alive[which]
        assert child.poll() is None, f"a worker ended by itself with {child.returncode}"
        assert child.stdout is not None
        child.kill()
        child.wait()
        child.stdout.close()

    def end(self) -> None:
        """Kill all."""
        for which in range(len(self._alive)):
            self._end(which)


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.set_busy_timeout(30_000)
        return db.execute(sql).fetchall()
    finally:
        db.close()


def _fired(path: Path) -> int:
    ((total,),) = _rows(path, "select sum(coalesce(body ->> 'fired', 0)) from schedule")
    return int(total)


async def _declare(app: Outlast) -> list[ScheduleRecord]:
    """Declare all that a worker would, and return where the schedules begin."""
    runtime = await app.runtime()
    await scheduler_of(runtime).declare()
    records = await runtime.store.schedules.schedules()
    await app.close()
    return records


def _expected(begin: float, upto: float) -> Iterator[str]:
    step = round(EVERY * 1000)
    for count in range(round(begin * 1000) // step + 1, round(upto * 1000) // step + 1):
        yield written(count * step / 1000)


def prove(*, ticks: int, kills: int, processes: int, schedules: int, seed: int) -> Verdict:
    """Let processes fire and kill them at random moments until there are so many ticks and kills; judge by the file."""
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticks.db"
        begun = {record.name: record.upto for record in asyncio.run(_declare(make_app(str(path), schedules)))}
        started = time.monotonic()
        children = _Children(path, schedules, processes)
        length = ticks / (schedules / EVERY)
        killed = 0
        while killed < kills or _fired(path) < ticks:
            time.sleep(rng.expovariate(kills / length))
            together = processes if rng.random() < 0.05 else 1
            for which in rng.sample(range(processes), together):
                children.kill(which)
            killed += together
        children.end()
        seconds = time.monotonic() - started
        return _judge(path, begun, killed + processes, seconds)


def _judge(path: Path, begun: dict[str, float], kills: int, seconds: float) -> Verdict:
    published: dict[str, Counter[str]] = {name: Counter() for name in begun}
    for (id_,) in _rows(path, "select id from job"):
        name, _, tick = id_.partition(".")[2].partition("@")
        published[name][tick.partition("/")[0]] += 1
    missing = doubled = foreign = miscounted = total = 0
    for (body,) in _rows(path, "select body from schedule"):
        record = msgspec.json.decode(body, type=ScheduleRecord)
        found, expected = published[record.name], set(_expected(begun[record.name], record.upto))
        missing += len(expected - found.keys())
        foreign += len(found.keys() - expected)
        doubled += sum(count - 1 for count in found.values())
        miscounted += abs(record.fired - found.total()) + record.skipped
        total += len(expected)
    return Verdict(total, kills, seconds, missing, doubled, foreign, miscounted)


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--schedules", type=int, default=40)
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    verdict = prove(**vars(given))
    print(verdict)
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
