"""Drives the proof: starts machines and a producer, kills at random moments, and judges the ledger when all is over.

python -m tests.faults.proofs.survival --kills 212 --seed 1 --keep tests/faults/survival/ledger.jsonl.xz
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import lzma
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct

from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect
from outlast.core.policy import DEFAULTS
from outlast.core.store.records import JobRecord, Query
from outlast.core.store.store import Store
from tests.faults.survival.check import Fault, faults_of
from tests.faults.survival.figures import Figures, figures_of
from tests.faults.survival.history import history_of
from tests.faults.survival.ledger import Ledger, Plan, Record, read
from tests.faults.survival.machine import ROOT, Machine, environment
from tests.support.origin import origin

__all__ = ["Orders", "main", "survive"]

_UNFINISHED: Final = ("waiting", "scheduled", "ready", "running", "parked")
_LOADED: Final = 100
"""Most kills wait (a while) until so many jobs are held, and then a random moment; one of seven comes when it comes."""


class Orders(Struct, frozen=True, kw_only=True):
    """What is to be done. burst: jobs, about; pause, gap: seconds between bursts and between kills, about.

    machine_every: each so many kills take supervisor and workers together. supervisors: kills of a supervisor alone.
    freezes: machines that stand still past their lease while another takes over. poison: jobs that kill their process.
    """

    seed: int
    kills: int
    jobs: int
    processes: int = 3
    burst: int = 150
    pause: float = 1.5
    gap: float = 1.5
    machine_every: int = 10
    supervisors: int = 0
    freezes: int = 0
    poison: int = 0
    patience: float = 180.0
    """Seconds that the jobs have to end when all is quiet."""


class _Drill:
    """One run. Kills come from a seed; when exactly they hit, only the ledger knows."""

    def __init__(self, orders: Orders, folder: Path, store: Store, ledger: Ledger, output: int) -> None:
        self._orders = orders
        self._rng = random.Random(orders.seed)
        self._folder = folder
        self._db = folder / "jobs.db"
        self._store = store
        self._ledger = ledger
        self._output = output
        self._machines: list[Machine] = []
        self.machine = self._start()

    def _env(self, role: str) -> dict[str, str]:
        return environment(self._db, self._folder / "ledger.jsonl", role=role)

    def _start(self) -> Machine:
        env = self._env("worker")
        machine = Machine(self._db, self._ledger, env=env, processes=self._orders.processes, output=self._output)
        self._machines.append(machine)
        return machine

    def end(self) -> None:
        """Leave nothing running, also when the drill failed."""
        for machine in self._machines:
            machine.end()

    async def run(self) -> None:
        """Kill all that is ordered while the producer produces; then let everything end, and write the records down."""
        orders = self._orders
        producer = await self._produce()
        try:
            kinds = self._timetable()
            for number, kind in enumerate(kinds, 1):
                await asyncio.sleep(self._rng.uniform(orders.gap * 0.5, orders.gap * 1.5))
                await self._strike(kind)
                if sys.stderr.isatty() or number % 20 == 0:
                    print(f"{number} of {len(kinds)} blows, {await self._accepted()} jobs", file=sys.stderr)
            while await self._accepted() < orders.jobs:
                await asyncio.sleep(0.5)
        finally:
            with contextlib.suppress(ProcessLookupError):
                producer.send_signal(signal.SIGTERM)
            code = await producer.wait()
        if code:
            raise RuntimeError(f"the producer failed: {code}")
        await self._quiet()
        self.machine.stop()
        if code := await asyncio.to_thread(self.machine.wait, 60):
            raise RuntimeError(f"the supervisor did not stop in peace: {code}")
        await self._records()

    def _timetable(self) -> list[str]:
        """Return the blows in order: every tenth kill a machine, the others workers, the rarer ones among them."""
        orders = self._orders
        blows = ["machine" if n % orders.machine_every == 0 else "worker" for n in range(1, orders.kills + 1)]
        for kind, count in (("supervisor", orders.supervisors), ("freeze", orders.freezes)):
            for n in range(count):
                blows.insert(int((n + 0.5) * len(blows) / count) + self._rng.randint(0, 3), kind)
        return blows

    async def _produce(self) -> asyncio.subprocess.Process:
        orders = self._orders
        options = {"seed": orders.seed, "size": orders.burst, "pause": orders.pause, "poison": orders.poison}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.survival.produce",
            *words,
            cwd=ROOT,
            env=self._env("producer"),
            stdout=self._output,
            stderr=self._output,
        )

    async def _strike(self, kind: str) -> None:
        if self._rng.random() < 0.85 or kind == "freeze":
            await self._loaded()
        await asyncio.sleep(self._rng.uniform(0, 0.1))
        match kind:
            case "worker":
                while not self.machine.kill_worker(self._rng):
                    await asyncio.sleep(0.1)
            case "machine":
                self.machine.kill()
                self.machine = self._start()
            case "supervisor":
                self.machine.kill_supervisor()
                self.machine = self._start()
            case _:
                await self._freeze()

    async def _freeze(self) -> None:
        """Let a machine stand still until another one has its jobs, then hear what it has to say, and send it away."""
        old, self.machine = self.machine, self._start()
        while not self.machine.workers() or await self._held() < _LOADED:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        await self._loaded()
        stopped = await asyncio.to_thread(old.freeze, self._rng)
        await asyncio.sleep(DEFAULTS.lease + 2.0)
        await asyncio.to_thread(old.thaw, stopped)
        await asyncio.sleep(self._rng.uniform(1.0, 2.0))
        old.stop()
        if code := await asyncio.to_thread(old.wait, 60):
            raise RuntimeError(f"the thawed supervisor did not stop in peace: {code}")

    # Looking at the store

    async def _loaded(self) -> None:
        """Wait until a good number of jobs is held; not for ever."""
        for _ in range(150):
            if await self._held() >= _LOADED:
                return
            await asyncio.sleep(0.02)

    async def _held(self) -> int:
        return sum(each.running for each in (await self._store.broker.stats([])).values())

    async def _accepted(self) -> int:
        return sum((await self._store.records.count(Query())).values())

    async def _quiet(self) -> None:
        end = asyncio.get_running_loop().time() + self._orders.patience
        while left := sum((await self._store.records.count(Query(states=_UNFINISHED))).values()):
            if asyncio.get_running_loop().time() > end:
                print(f"{left} jobs have not ended in {self._orders.patience:.0f} s", file=sys.stderr)
                return
            await asyncio.sleep(0.2)

    async def _records(self) -> None:
        cursor: str | None = None
        while True:
            page = await self._store.records.find(Query(limit=500, cursor=cursor))
            for record in page.records:
                self._ledger.write(_record(record))
            cursor = page.cursor
            if cursor is None:
                return


def _record(record: JobRecord) -> Record:
    return Record(
        id=record.id,
        kind=record.kind,
        state=record.state,
        reason=record.reason or "",
        attempt=record.attempt,
        crashes=record.crashes,
        run="" if record.result is None else str(record.result),
    )


async def survive(orders: Orders, folder: Path) -> Path:
    """Do all that is ordered in `folder`; return the ledger."""
    path = folder / "ledger.jsonl"
    ledger = Ledger(str(path))
    ledger.write(
        Plan(seed=orders.seed, processes=orders.processes, concurrency=DEFAULTS.concurrency, lease=DEFAULTS.lease)
    )
    store = connect(f"sqlite:{folder / 'jobs.db'}", clock=SystemClock(), max_body=DEFAULTS.max_body)
    async with AsyncExitStack() as stack:
        stack.callback(ledger.close)
        await store.broker.open()
        stack.push_async_callback(store.broker.close)
        output = stack.enter_context((folder / "output.txt").open("ab")).fileno()
        drill = _Drill(orders, folder, store, ledger, output)
        try:
            await drill.run()
        finally:
            drill.end()
    return path


def judge(path: Path) -> tuple[Figures, Sequence[Fault]]:
    """Return what a ledger says."""
    past = history_of(read(path))
    return figures_of(past), faults_of(past)


def main() -> int:
    """Run the proof as the command line says; exit code 0 when it holds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kills", type=int, default=212)
    options.add_argument("--jobs", type=int, default=20_000)
    options.add_argument("--processes", type=int, default=3)
    options.add_argument("--burst", type=int, default=150)
    options.add_argument("--supervisors", type=int, default=5)
    options.add_argument("--freezes", type=int, default=2)
    options.add_argument("--poison", type=int, default=5)
    options.add_argument(
        "--folder", type=Path, help="an empty folder to work in, and to leave; one of its own if not given"
    )
    options.add_argument("--keep", type=Path, help="where to put the ledger, compressed")
    given = vars(options.parse_args())
    print(origin(given["seed"]), flush=True)
    keep, folder = given.pop("keep"), given.pop("folder")
    with tempfile.TemporaryDirectory(prefix="survival-") as fresh:
        path = asyncio.run(survive(Orders(**given), folder or Path(fresh)))
        figures, found = judge(path)
        if keep is not None:
            keep.write_bytes(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    print(figures)
    for fault in found[:50]:
        print(fault)
    print(f"{len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
