"""Real worker processes that are killed, stopped, blocked and poisoned; judged by the ledger they wrote."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.kill.app import blocks, brief, gated, hogs, holds_gil, poison, threaded
from tests.faults.kill.scene import LEASE, TARGET, Scene, all_succeeded, exited
from tests.support.polling import until
from tests.support.supervise import supervised


async def test_the_orphans_of_a_killed_worker_run_again_and_nothing_else_does(scene: Scene) -> None:
    ids = [await scene.enqueue(gated, f"job-{n}") for n in range(20)]
    with scene.start(processes=2, concurrency=10):
        await scene.started(*(f"job-{n}" for n in range(20)))
        first = {each.name: each.pid for each in scene.ledger.read("start")}
        victim = first["job-0"]
        psutil.Process(victim).kill()
        scene.ledger.write("open", "all")
        records = await scene.records(ids)
    assert all_succeeded(records)
    ended = {each.name for each in scene.ledger.read("end") if each.pid == victim}
    orphans = {name for name, pid in first.items() if pid == victim} - ended
    assert orphans
    assert {name for name, count in scene.ledger.names("start").items() if count > 1} == orphans
    assert {name for name, count in scene.ledger.names("end").items() if count != 1} == set()


async def test_workers_whose_supervisor_was_killed_finish_what_they_run_and_leave(scene: Scene) -> None:
    ids = [await scene.enqueue(brief, f"job-{n}", 2.0) for n in range(4)]
    with scene.start(processes=2, concurrency=2) as running:
        await scene.started(*(f"job-{n}" for n in range(4)))
        workers = [psutil.Process(pid) for pid in running.workers()]
        running.process.kill()
        running.process.wait()
        assert all_succeeded(await scene.records(ids))
        later = await scene.enqueue(brief, "later", 0)
        await until(lambda: not any(_alive(each) for each in workers), "the workers leave")
    assert scene.ledger.names("start") == {f"job-{n}": 1 for n in range(4)}
    with scene.start():
        assert all_succeeded(await scene.records([later]))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_after_the_whole_machine_died_another_takes_over(scene: Scene) -> None:
    ids = [await scene.enqueue(brief, f"job-{n}", 0.5) for n in range(6)]
    with scene.start(processes=2, concurrency=3) as running:
        await scene.started("job-0")
        running.signal_all(signal.SIGKILL)
        running.process.wait()
    with scene.start():
        assert all_succeeded(await scene.records(ids))
    assert set(scene.ledger.names("end").values()) == {1}


async def test_a_frozen_machine_is_superseded_and_changes_nothing_when_it_wakes(scene: Scene) -> None:
    job = await scene.enqueue(brief, "job", 1.0)
    with scene.start(processes=1) as frozen:  # a second worker could be frozen while it opens the file, and lock it
        await scene.started("job")
        frozen.signal_all(signal.SIGSTOP)
        with scene.start() as other:
            (found,) = await scene.records([job])
            assert (found.state, scene.ledger.names("start")["job"], found.crashes) == ("succeeded", 2, 1)
            frozen.signal_all(signal.SIGCONT)
            await until(lambda: "superseded" in scene.told(), "the first one hears that it was superseded")
            assert next(each.pid for each in scene.ledger.read("end")) in other.workers()
    (after,) = await scene.records([job])
    assert after == found


@pytest.mark.parametrize("kind", [blocks, holds_gil, threaded], ids=["loop", "gil", "thread"])
async def test_no_job_is_taken_from_a_live_worker_that_is_busy_past_its_lease(scene: Scene, kind: Any) -> None:
    with scene.start(processes=2, concurrency=1, threads=1):
        ids = [await scene.enqueue(kind, f"job-{n}", 4 * LEASE) for n in range(2)]
        records = await scene.records(ids)
    assert all_succeeded(records)
    assert scene.ledger.names("start") == {"job-0": 1, "job-1": 1}
    assert [each.crashes for each in records] == [0, 0]


async def test_poison_is_dead_after_it_killed_two_workers_and_then_itself_alone(scene: Scene) -> None:
    ids = [await scene.enqueue(brief, f"job-{n}", 0.3) for n in range(12)]
    bad = await scene.enqueue(poison, "poison")
    with scene.start(processes=2, concurrency=10):
        (dead,) = await scene.records([bad])
        neighbours = await scene.records(ids)
    assert (dead.state, dead.reason) == ("dead", "poison")
    assert scene.ledger.names("start")["poison"] == 3
    assert all_succeeded(neighbours)


async def test_past_its_hard_deadline_a_worker_is_killed_and_only_the_overdue_job_is_blamed(scene: Scene) -> None:
    with scene.start(processes=1, concurrency=10):
        ids = [await scene.enqueue(brief, f"job-{n}", 1.0) for n in range(3)]
        await scene.started("job-0", "job-1", "job-2")
        hog = await scene.enqueue(hogs, "hog")
        neighbours = await scene.records(ids)
        (dead,) = await scene.records([hog])
    assert all_succeeded(neighbours)
    assert [each.crashes for each in neighbours] == [0, 0, 0]
    assert (dead.state, dead.reason, dead.crashes) == ("dead", "timeout", 2)
    assert [each.type for each in dead.failures] == ["WorkerDied", "WorkerDied", "TimedOut", "TimedOut", "TimedOut"]


async def test_a_stop_drains_and_a_second_one_cuts_it_short(scene: Scene) -> None:
    short = await scene.enqueue(brief, "short", 0.5)
    with scene.start(processes=2) as running:
        await scene.started("short")
        running.process.terminate()
        assert await exited(running) == 0
    assert all_succeeded(await scene.records([short]))
    long = await scene.enqueue(brief, "long", 60)
    with scene.start() as running:
        await scene.started("long")
        running.process.terminate()
        await until(lambda: scene.told().count("stopping") == 2, "the first signal arrives")
        running.process.terminate()
        assert await exited(running) == 0
    (found,) = await (await scene.app.runtime()).store.records.get([long])
    assert found is not None
    assert (found.state, found.attempt, found.crashes) == ("ready", 1, 0)


async def test_an_idle_worker_that_does_not_move_is_replaced_without_blame(scene: Scene) -> None:
    first = await scene.enqueue(brief, "first", 0)
    with scene.start(stall_after=1.5) as running:
        await scene.records([first])
        (worker,) = running.workers()
        psutil.Process(worker).send_signal(signal.SIGSTOP)
        await until(lambda: running.workers() not in ([], [worker]), "another one takes its place")
        assert all_succeeded(await scene.records([await scene.enqueue(brief, "second", 0)]))
    assert "its event loop has not run" in scene.told()


async def test_workers_are_replaced_after_so_many_jobs(scene: Scene) -> None:
    with scene.start(max_jobs=5, concurrency=1):
        for n in range(20):
            await scene.records([await scene.enqueue(brief, f"job-{n}", 0)])
        await until(lambda: "is replaced after" in scene.told(), "a worker is replaced")
        assert all_succeeded(await scene.records([await scene.enqueue(brief, "last", 0)]))
    assert set(scene.ledger.names("start").values()) == {1}


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("tests.support.nowhere:app", 2, "no module 'tests.support.nowhere'"),
        ("tests.faults.kill.app:shop", 2, "has no 'shop'"),
        ("tests.faults.kill.app", 2, "give 'module:attribute'"),
    ],
)
async def test_a_wrong_target_ends_the_supervisor_with_the_reason(
    scene: Scene, target: str, code: int, text: str
) -> None:
    with supervised(target, scene.environ, scene.log, processes=2) as running:
        assert await exited(running) == code
    assert text in scene.told()


async def test_a_store_that_only_one_process_sees_is_refused(scene: Scene) -> None:
    with supervised(TARGET, {**scene.environ, "OUTLAST_FAULTS_URL": "memory:"}, scene.log) as running:
        assert await exited(running) == 2
    assert "seen by one process only" in scene.told()


async def test_a_damaged_store_ends_the_supervisor_and_is_left_as_it_was(scene: Scene) -> None:
    path = scene.log.parent / "damaged.db"
    path.write_bytes(b"not a database" * 1000)
    environ = {**scene.environ, "OUTLAST_FAULTS_URL": f"sqlite:{path}"}
    with supervised(TARGET, environ, scene.log) as running:
        assert await exited(running) == 3
    assert path.read_bytes() == b"not a database" * 1000


async def test_a_target_that_dies_while_it_is_imported_is_given_up(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "dies_at_import.py").write_text("import os\nos._exit(17)\n")
    environ = {**scene.environ, "PYTHONPATH": str(tmp_path)}
    with supervised("dies_at_import:app", environ, scene.log) as running:
        assert await exited(running, within=60) == 4
    assert "giving up" in scene.told()
