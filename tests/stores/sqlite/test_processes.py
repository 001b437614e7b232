"""Many real processes on one SQLite file."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from tests.support.polling import until
from tests.support.sqlite_file import look
from tests.support.sqlite_process import journals, start


def go(*processes: subprocess.Popen[str]) -> None:
    """Let processes that are ready begin, all at once."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def end(*processes: subprocess.Popen[str]) -> list[int]:
    """Wait for processes and return their exit codes."""
    for process in processes:
        process.communicate()
    return [process.returncode for process in processes]


async def accepted_lines(folder: Path, wanted: int) -> None:
    """Wait until publishers have written so many answers down."""
    await until(lambda: len(journals(folder, "accepted")) >= wanted, "publishers go on")


def test_fifty_processes_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    processes = [start("opener", path, tmp_path / f"{n}.journal", str(n)) for n in range(50)]
    go(*processes)
    assert end(*processes) == [0] * 50
    assert look(path, "select count(*), min(state), max(state) from job") == [(50, 0, 0)]
    assert look(path, "pragma integrity_check") == [("ok",)]
    assert look(path, "select depth from queue") == [(50,)]


@pytest.mark.parametrize("seed", range(2))
async def test_processes_killed_at_random_lose_nothing_that_was_accepted(tmp_path: Path, seed: int) -> None:
    """Publishers and workers are killed with SIGKILL again and again; afterwards the file and the journals agree."""
    path = tmp_path / "jobs.db"
    chance = random.Random(seed)
    made = 0

    def begin(role: str) -> subprocess.Popen[str]:
        nonlocal made
        made += 1
        process = start(role, path, tmp_path / f"{made}.journal", f"{role[0]}{made}")
        go(process)
        return process

    roles = ["publisher", "publisher", "worker", "worker"]
    running = [begin(role) for role in roles]
    for _ in range(12):
        wanted = len(journals(tmp_path, "accepted")) + chance.randrange(1, 60)
        await accepted_lines(tmp_path, wanted)
        victim = chance.randrange(len(running))
        running[victim].kill()
        end(running[victim])
        running[victim] = begin(roles[victim])
    for process in running:
        process.kill()
        end(process)
    assert look(path, "pragma integrity_check") == [("ok",)]

    accepted = {id for line in journals(tmp_path, "accepted") for id in line.split()}
    asked = {id for line in journals(tmp_path, "asked") for id in line.split()}
    kept = {str(id) for (id,) in look(path, "select id from job")}
    assert accepted <= kept <= asked
    drained = start("worker", path, tmp_path / "last.journal", "last", count=10)
    go(drained)
    assert end(drained) == [0]

    assert look(path, "select state, count(*) from job group by 1") == [(10, len(kept))]
    assert look(path, "select depth, records from queue")[0][0] == 0
    finished = [line.split()[0] for line in journals(tmp_path, "finished")]
    assert len(finished) == len(set(finished)), "ended twice"
    assert set(finished) <= kept
    tokens = [line.split()[1] for line in journals(tmp_path, "started")]
    given = [tuple(line.split()) for line in journals(tmp_path, "started")]
    assert len(given) == len(set(given)), "one fence given twice"
    assert tokens


async def test_a_file_survives_writers_killed_in_mid_commit(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    for turn in range(6):
        process = start("publisher", path, tmp_path / f"{turn}.journal", f"t{turn}")
        go(process)
        await accepted_lines(tmp_path, len(journals(tmp_path, "accepted")) + 20)
        process.kill()
        end(process)
        assert look(path, "pragma integrity_check") == [("ok",)]
        store = SqliteStore(str(path), clock=SystemClock())
        await store.open()
        accepted = [id for line in journals(tmp_path, "accepted") for id in line.split()]
        records = await store.get(accepted)
        assert all(record is not None and record.state == "ready" for record in records)
        assert (await store.stats(["q"]))["q"].depth == look(path, "select count(*) from job")[0][0]
        await store.close()
