"""The file of a store is taken away or replaced while processes write to it; judged by what they were told.

Every job that was answered as accepted is in the file that the path led to then; none that was asked for later is
answered as accepted; the file that took the place is whole, and has what it had and what was accepted into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.copies import restore_store
from tests.support.polling import until
from tests.support.sqlite_file import look

ROOT = Path(__file__).parents[3]
OLD = 3
"""Processes that use the store before its file is replaced."""


class Journals:
    """What the processes were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, name: str) -> list[tuple[int, str, set[str]]]:
        """Return the lines of one process: when, word, ids."""
        path = self.folder / f"{name}.journal"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        rows = (line.split(" ") for line in lines)
        return [(int(at), word, set(ids) - {""}) for at, word, *ids in rows]

    def told(self, word: str, names: list[str]) -> set[str]:
        """Return the ids that these processes were told with a word."""
        return set().union(*(ids for name in names for _, each, ids in self.of(name) if each == word))


class Scene:
    """A store file, the processes on it, and their journals."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "there" / "jobs.db"
        self.path.parent.mkdir()
        self.backup = folder / "backup.db"
        self.kept = folder / "kept"
        self.journals = Journals(folder)
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, role: str, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.faults.file.client", role, str(self.path)]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, str(self.folder / f"{name}.journal"), name], cwd=ROOT, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    async def accepted(self, name: str, number: int) -> None:
        """Wait until a process has had so many jobs accepted."""
        await until(lambda: len(self.journals.told("accepted", [name])) >= number, f"{name} has {number} accepted")

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.end()
    for log in tmp_path.glob("*.log"):
        print(log.name, log.read_text())


def ids(path: Path) -> set[str]:
    assert look(path, "pragma integrity_check") == [("ok",)]
    return {str(id) for (id,) in look(path, "select id from job")}


def _files(scene: Scene) -> list[Path]:
    return [each for each in scene.path.parent.glob("jobs.db*") if each.is_file()]


def _hold(scene: Scene) -> None:
    """Give the file and its log second names, so that they can be read when the first ones are gone."""
    scene.kept.mkdir()
    for each in _files(scene):
        with contextlib.suppress(FileNotFoundError):
            os.link(each, scene.kept / each.name)


def remove(scene: Scene) -> None:
    for each in _files(scene):
        each.unlink(missing_ok=True)


def remove_alone(scene: Scene) -> None:
    scene.path.unlink()


def move_over(scene: Scene) -> None:
    scene.backup.rename(scene.path)


def remove_folder(scene: Scene) -> None:
    scene.path.parent.rename(scene.folder / "away")
    scene.path.parent.mkdir()


def restore(scene: Scene) -> None:
    restore_store(str(scene.backup), str(scene.path))


WAYS: list[Callable[[Scene], None]] = [remove, remove_alone, move_over, remove_folder, restore]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_accepted_into_a_file_that_no_path_leads_to(
    scene: Scene, way: Callable[[Scene], None], seed: int
) -> None:
    rng = random.Random(f"{way.__name__} {seed}")
    names = [f"old{n}" for n in range(OLD)]
    processes = [scene.start("publisher", name) for name in names]
    processes.append(scene.start("worker", "oldworker"))
    for name in names:
        await scene.accepted(name, rng.randrange(10, 200))
    store = SqliteStore(str(scene.path), clock=SystemClock())
    await store.open()
    await store.backup(str(scene.backup))
    await store.close()
    saved = ids(scene.backup)
    await scene.accepted(names[0], len(scene.journals.told("accepted", names[:1])) + rng.randrange(100))
    _hold(scene)

    way(scene)
    gone = time.monotonic_ns()
    new = scene.start("publisher", "new")
    await scene.accepted("new", 50)
    for process in processes:
        await asyncio.to_thread(process.wait, 60)
        assert process.returncode == 0, "it closes the store in peace"
    new.kill()
    new.wait()

    for name in [*names, "oldworker"]:
        lines = scene.journals.of(name)
        assert lines[-1][1] == "moved"
        late = [at for at, word, _ in lines if word == "asked" and at > gone]
        assert not late or not [at for at, word, _ in lines if word == "accepted" and at > late[0]]
    before, after = scene.journals.told("accepted", names), scene.journals.told("accepted", ["new"])
    there = ids(scene.path)
    assert after <= there
    asked = after | scene.journals.told("asked", ["new"])
    assert there - asked == (saved if way in (move_over, restore) else set())
    shutil.copytree(scene.kept, scene.folder / "read")
    assert before <= ids(scene.folder / "read" / "jobs.db")
    finished = scene.journals.told("finished", ["oldworker"])
    ended = look(scene.folder / "read" / "jobs.db", "select id from job where state = 10")
    assert finished <= {id for (id,) in ended}
