"""One worker process as its supervisor sees it: when it is to be replaced, and how it ended."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from random import Random

import msgspec
import psutil
import pytest

from outlast.core.exitcodes import FAILED
from outlast.supervisor.messages import WorkerConfig
from outlast.supervisor.process import RecycleBounds, WorkerProcess
from outlast.testing.clock import FakeClock
from tests.support.polling import until

CONFIG = WorkerConfig(target="tests.faults.kill.app:app", holder="", map_fd=-1, control_fd=-1, supervisor=0)


class Least(Random):
    """Chooses the lower bound."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Most(Random):
    """Chooses the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the app of the process a store."""
    monkeypatch.setenv("OUTLAST_FAULTS_URL", f"sqlite:{tmp_path}/jobs.db")


@pytest.mark.parametrize(("rng", "share"), [(Least(), 0.9), (Most(), 1.0)], ids=["least", "most"])
async def test_a_worker_is_replaced_at_its_bounds_or_a_tenth_below_unless_it_stops(rng: Random, share: float) -> None:
    clock = FakeClock()
    process = WorkerProcess(CONFIG, clock, rng)
    running = asyncio.ensure_future(process.run())
    age, born = RecycleBounds(age=100.0), clock.monotonic()
    assert process.recycle_reason(born + 200, age) == ""  # it is starting
    await process.hello
    assert process.recycle_reason(born + share * 100 - 0.1, age) == ""
    assert process.recycle_reason(born + share * 100 + 0.1, age) == f"{share * 100:.0f} s of age"
    assert process.recycle_reason(born + 200, RecycleBounds()) == ""  # the app sets none
    assert process.recycle_reason(born, RecycleBounds(memory=1 << 40)) == ""
    assert process.recycle_reason(born, RecycleBounds(memory=1 << 20)).endswith(" MiB of memory")
    process.stop()
    assert process.recycle_reason(born + 200, age) == ""
    ended = await running
    assert (ended.code, ended.killed_for, ended.jobs, ended.pid) == (0, "", (), process.child.pid)


async def test_a_worker_that_ends_before_a_check_counts_as_ready_when_it_was() -> None:
    """Else ends soon after the start would count as failed starts, and the supervisor would give up."""
    clock = FakeClock()
    process = WorkerProcess(CONFIG, clock, Random(1))
    running = asyncio.ensure_future(process.run())
    await process.hello
    await until(lambda: process._map is not None and process._map.ready, "the worker consumes")
    assert not process.ready
    process.stop()
    ended = await running
    assert (ended.ready, ended.lived, ended.left) == (True, 0.0, True)


async def test_a_worker_has_lived_since_the_check_that_found_it_ready() -> None:
    clock = FakeClock()
    process = WorkerProcess(CONFIG, clock, Random(1))
    running = asyncio.ensure_future(process.run())
    await process.hello
    await until(lambda: process._map is not None and process._map.ready, "the worker consumes")
    process.check(clock.monotonic(), math.inf)
    assert (process.ready, process.up.is_set()) == (True, True)
    clock.advance(7)
    process.kill("forced")
    ended = await running
    assert (ended.ready, ended.lived, ended.code, ended.killed_for) == (True, 7.0, -9, "forced")


async def test_what_a_dead_worker_has_started_is_killed_with_it(tmp_path: Path) -> None:
    """Also in a process group of its own, as a shell starts it."""
    pid = tmp_path / "pid"
    (tmp_path / "leaves_a_program.py").write_text(
        "import os, pathlib, subprocess\n"
        "left = subprocess.Popen(['sleep', '300'], process_group=0)\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(left.pid))\n"
        "os._exit(5)\n"
    )
    config = msgspec.structs.replace(CONFIG, target="leaves_a_program:app")
    process = WorkerProcess(config, FakeClock(), Random(1), str(tmp_path))
    ended = await process.run()
    assert (ended.code, ended.ready, ended.lived) == (5, False, 0.0)
    left = int(pid.read_text())
    await until(lambda: not alive(left), "the program is dead")


HOOKED = """
import asyncio
import pathlib
from outlast import Outlast

app = Outlast("faults")
kept = []


@app.job
async def job() -> None: ...


async def works() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        pathlib.Path("cleaned").touch()


@app.on_start
async def begin() -> None:
    kept.append(asyncio.create_task(works()))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks():
        if task.get_name() == {cancels!r}:
            task.cancel()
"""


async def test_a_task_of_the_app_is_cancelled_at_a_stop_and_may_clean_up(tmp_path: Path) -> None:
    (tmp_path / "hooked.py").write_text(HOOKED.format(cancels=""))
    process = WorkerProcess(msgspec.structs.replace(CONFIG, target="hooked:app"), FakeClock(), Random(1), str(tmp_path))
    running = asyncio.ensure_future(process.run())
    await process.hello
    await until(lambda: process._map is not None and process._map.ready, "the worker consumes")
    process.stop()
    ended = await running
    assert (ended.code, ended.left, (tmp_path / "cleaned").exists()) == (0, True, True)


async def test_a_worker_whose_app_ends_the_task_that_hears_the_supervisor_dies(tmp_path: Path) -> None:
    """It could not be stopped, and would hear of no lost job."""
    (tmp_path / "hooked.py").write_text(HOOKED.format(cancels="outlast messages"))
    process = WorkerProcess(msgspec.structs.replace(CONFIG, target="hooked:app"), FakeClock(), Random(1), str(tmp_path))
    async with asyncio.timeout(60):
        ended = await process.run()
    assert (ended.code, ended.left) == (FAILED, False)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
