"""How a supervisor stops: at the first, the second and the third signal, and without its store.

The grace is an hour: what ends within a test was not ended by it.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.kill.app import blocks, brief, leaves_a_child, poison
from tests.faults.kill.scene import TARGET, Scene, all_succeeded, exited
from tests.support.polling import until
from tests.support.supervise import Supervised, supervised

HOUR = {"OUTLAST_FAULTS_DRAIN_GRACE": "3600", "OUTLAST_FAULTS_LEASE": "10"}
GRACE = "running jobs have a grace period"
OVER = "the grace period is over"
KILLED = "killed at the third signal"


@contextmanager
def patient(scene: Scene) -> Iterator[Supervised]:
    with supervised(TARGET, {**scene.environ, **HOUR}, scene.log, concurrency=10) as running:
        yield running


async def state_of(scene: Scene, job: str) -> tuple[str, int, int]:
    (found,) = await (await scene.app.runtime()).store.records.get([job])
    assert found is not None
    return found.state, found.attempt, found.crashes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_grace_and_no_attempt_is_lost(scene: Scene, number: signal.Signals) -> None:
    job = await scene.enqueue(brief, "long", 3600)
    with patient(scene) as running:
        await scene.started("long")
        running.process.send_signal(number)
        await until(lambda: GRACE in scene.told(), "the first signal is told")
        running.process.send_signal(number)
        assert await exited(running) == 0
    assert await state_of(scene, job) == ("ready", 1, 0)
    assert [scene.told().count(text) for text in (GRACE, OVER, KILLED)] == [1, 1, 0]


async def test_a_third_signal_kills_what_does_not_move_and_is_told_once(scene: Scene) -> None:
    job = await scene.enqueue(blocks, "stuck", 3600)
    with patient(scene) as running:
        await scene.started("stuck")
        running.process.terminate()
        await until(lambda: GRACE in scene.told(), "the first signal is told")
        running.process.terminate()
        await until(lambda: OVER in scene.told(), "the second signal is told")
        running.process.terminate()
        await until(lambda: KILLED in scene.told(), "the third signal is told")
        assert await exited(running) == 0
    assert await state_of(scene, job) == ("ready", 1, 0)
    assert [scene.told().count(text) for text in (GRACE, OVER, KILLED)] == [1, 1, 1]
    assert "not ended within" not in scene.told()


async def test_a_stop_does_not_wait_for_an_import(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "imports_for_an_hour.py").write_text(
        "import os, time\nfrom pathlib import Path\nfrom tests.support.ledger import Ledger\n"
        "Ledger(Path(os.environ['OUTLAST_TEST_LEDGER'])).write('start', 'import')\ntime.sleep(3600)\n"
    )
    environ = {**scene.environ, **HOUR, "PYTHONPATH": f"{tmp_path}:."}
    with supervised("imports_for_an_hour:app", environ, scene.log, processes=2) as running:
        await until(lambda: scene.ledger.names("start")["import"] == 2, "both import")
        running.process.terminate()
        assert await exited(running) == 0


async def test_an_idle_worker_stops_although_another_process_has_locked_the_file(scene: Scene) -> None:
    with patient(scene) as running:
        assert all_succeeded(await scene.records([await scene.enqueue(brief, "first", 0)]))
        with closing(sqlite3.connect(scene.log.parent / "jobs.db", isolation_level=None)) as other:
            other.execute("begin immediate")
            running.process.terminate()
            assert await exited(running) == 0


async def test_the_supervisor_reaps_what_its_jobs_leave_behind(scene: Scene) -> None:
    with supervised(TARGET, scene.environ, scene.log, processes=2, subreaper=True):
        ids = [await scene.enqueue(leaves_a_child, f"job-{n}") for n in range(5)]
        bad = await scene.enqueue(poison, "poison")  # it still sees the ends of its own
        assert all_succeeded(await scene.records(ids))
        left = [int(each.name) for each in scene.ledger.read("left")]
        assert len(left) >= 5
        await until(lambda: not any(psutil.pid_exists(pid) for pid in left), "all are reaped")
        (dead,) = await scene.records([bad])
    assert (dead.state, dead.reason) == ("dead", "poison")
