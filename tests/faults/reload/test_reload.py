"""Reload and recycling of real worker processes: no gap, no attempt burned, and a broken deploy changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from outlast import Outlast
from outlast.core.store.records import JobRecord
from outlast.core.text import counted
from outlast.settings import Settings
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.supervise import Supervised, supervised

CODE = """
import asyncio, os, time
from pathlib import Path
from outlast import Outlast
from tests.support.ledger import Ledger

app = Outlast("reloaded")
ledger = Ledger(Path(os.environ["OUTLAST_TEST_LEDGER"]))
kept = []

@app.job
async def work(name: str, seconds: float) -> str:
    ledger.write("start", name)
    await asyncio.sleep(seconds)
    ledger.write("{version}", name)
    return "{version}"

@app.job(isolate="process", kind="{kind}")
def apart() -> str:
    return "{version}"

@app.job
async def grow(mebibytes: int) -> None:
    kept.append(bytearray(os.urandom(1024)) * (mebibytes << 10))
"""


class Scene:
    """An app in a folder of its own, whose code a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.ledger = Ledger(folder / "ledger")
        self.url = f"sqlite:{folder}/jobs.db"
        self.app = Outlast("reloaded", settings=Settings(url=self.url, enqueue_timeout=60))

        async def work(name: str, seconds: float) -> str:
            return name

        async def grow(mebibytes: int) -> None: ...

        def apart() -> str:
            return ""

        self.work, self.grow, self.apart = self.app.job(work), self.app.job(grow), self.app.job(apart)
        self.deploy("v1")

    def deploy(self, version: str, code: str = CODE, *, kind: str = "apart") -> None:
        """Write the app's code, of another length each time: a compiled file knows its source by second and size."""
        text = code.replace("{version}", version).replace("{kind}", kind) + f"# {version} {'-' * len(version)}\n"
        (self.folder / "code").mkdir(exist_ok=True)
        (self.folder / "code/reloaded_app.py").write_text(text)

    @contextmanager
    def start(self, environ: dict[str, str] | None = None, **options: Any) -> Iterator[Supervised]:
        """Run a supervisor of it."""
        variables = {
            "OUTLAST_RELOADED_URL": self.url,
            "OUTLAST_TEST_LEDGER": str(self.ledger.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(self.folder / "code"), os.environ.get("PYTHONPATH", "")]),
        }
        with supervised("reloaded_app:app", {**variables, **(environ or {})}, self.log, **options) as running:
            yield running

    async def run(self, name: str, seconds: float = 0.0) -> JobRecord:
        """Enqueue a job and return its record when it has ended."""
        return await self.ended(await self.enqueue(name, seconds))

    async def consumed_by(self, workers: int) -> None:
        """Wait until so many workers consume: one that still imports would import what is deployed next."""
        broker = (await self.app.runtime()).store.broker

        async def there() -> bool:
            return (await broker.stats(["default"]))["default"].consumers == workers

        await until(there, f"{workers} workers consume")

    async def enqueue(self, name: str, seconds: float = 0.0) -> str:
        """Enqueue a job."""
        return (await self.work.enqueue(name, seconds)).id

    async def ended(self, id_: str) -> JobRecord:
        """Return a job's record when it has ended, in its first attempt."""
        (found,) = await (await self.app.runtime()).store.records.wait([id_], 60)
        assert found is not None
        assert (found.state, found.attempt, found.crashes) == ("succeeded", 1, 0), self.told()
        return found

    def told(self) -> str:
        """What the processes logged."""
        return self.log.read_text() if self.log.exists() else ""

    async def reloaded(self, running: Supervised, workers: int) -> None:
        """Wait until it has reloaded and the old workers have left."""
        await self.tells(f"reloaded: {counted(workers, 'worker')} new")
        await until(lambda: len(running.workers()) == workers, "the old ones have left")

    async def tells(self, text: str, times: int = 1) -> None:
        """Wait until they have logged it so often."""
        await until(lambda: self.told().count(text) >= times, f"{text!r} is told")


@pytest.fixture
async def scene(tmp_path: Path) -> Any:
    scene = Scene(tmp_path)
    yield scene
    await scene.app.close()
    print(scene.told())


def version_of(record: JobRecord) -> str:
    return str(record.result)


async def test_a_hangup_puts_new_code_in_place_while_the_old_one_ends_what_it_runs(scene: Scene) -> None:
    with scene.start(processes=2) as running:
        assert version_of(await scene.run("before")) == "v1"
        await scene.consumed_by(2)
        old = set(running.workers())
        long = await scene.enqueue("long", 3.0)
        await until(lambda: "long" in scene.ledger.names("start"), "it runs")
        scene.deploy("v2-later")
        running.process.send_signal(signal.SIGHUP)
        await scene.reloaded(running, 2)
        assert old.isdisjoint(running.workers())
        assert version_of(await scene.ended(long)) == "v1"
        assert version_of(await scene.run("after")) == "v2-later"
    assert "died" not in scene.told()


@pytest.mark.parametrize(
    ("code", "why"),
    [("import nothing_of_this_name\n", "exit code 2"), ("import os\nos._exit(17)\n", "exit code 17")],
    ids=["import", "exit"],
)
async def test_a_broken_deploy_leaves_the_old_workers_in_place_and_the_next_one_mends_it(
    scene: Scene, code: str, why: str
) -> None:
    with scene.start(processes=2) as running:
        await scene.run("before")
        await scene.consumed_by(2)
        old = set(running.workers())
        scene.deploy("broken", code)
        running.process.send_signal(signal.SIGHUP)
        await scene.tells("the reload has failed")
        assert f"did not come up ({why}): 0 of 2 workers new" in scene.told()
        assert set(running.workers()) == old
        assert version_of(await scene.run("meanwhile")) == "v1"
        scene.deploy("v3-mended")
        running.process.send_signal(signal.SIGHUP)
        await scene.reloaded(running, 2)
        assert version_of(await scene.run("after")) == "v3-mended"


async def test_a_link_that_leads_to_another_release_is_followed(scene: Scene) -> None:
    for version in ("one", "two-later"):
        scene.deploy(version)
        (scene.folder / "code").rename(scene.folder / version)
    current = scene.folder / "current"
    current.symlink_to(scene.folder / "one")
    before = Path.cwd()
    os.chdir(current)
    try:
        # By the shell's name of the directory: its own name is that of the first release for ever.
        root = str(Path(__file__).parents[3])
        environ = {"PWD": str(current), "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        with scene.start(environ) as running:
            os.chdir(before)
            assert version_of(await scene.run("before")) == "one"
            current.unlink()
            current.symlink_to(scene.folder / "two-later")
            running.process.send_signal(signal.SIGHUP)
            await scene.reloaded(running, 1)
            assert version_of(await scene.run("after")) == "two-later"
    finally:
        os.chdir(before)


async def test_a_reload_that_is_asked_for_meanwhile_begins_anew(scene: Scene) -> None:
    with scene.start(processes=2) as running:
        await scene.run("before")
        await scene.consumed_by(2)
        scene.deploy("v2-half")
        running.process.send_signal(signal.SIGHUP)
        await scene.tells("reloading: ")
        scene.deploy("v3-at-last")
        running.process.send_signal(signal.SIGHUP)
        await scene.tells("requested again")
        await scene.reloaded(running, 2)
        assert {version_of(await scene.run(f"after-{n}")) for n in range(10)} == {"v3-at-last"}


async def test_code_with_another_store_is_not_put_in_place(scene: Scene) -> None:
    moved = CODE.replace('Outlast("reloaded")', f'Outlast("reloaded", settings=Settings(url="{scene.url}-2"))')
    with scene.start() as running:
        await scene.run("before")
        old = running.workers()
        scene.deploy("v2-elsewhere", moved.replace("import Outlast", "import Outlast, Settings"))
        running.process.send_signal(signal.SIGHUP)
        await scene.tells("the reload has failed")
        assert "the app's url has changed" in scene.told()
        await until(lambda: running.workers() == old, "the new one has left, the old ones stay")
        assert version_of(await scene.run("after")) == "v1"


async def test_a_child_process_with_newer_code_than_its_worker_costs_no_attempt(scene: Scene) -> None:
    with scene.start() as running:
        await scene.run("before")
        scene.deploy("v2-other", kind="another")  # in place, and nobody has reloaded yet
        id_ = (await scene.apart.enqueue()).id
        store = (await scene.app.runtime()).store

        async def put_off() -> bool:
            (found,) = await store.records.get([id_])
            return found is not None and found.state == "scheduled"

        await until(put_off, "the child does not know it")
        scene.deploy("v3-as-before")
        running.process.send_signal(signal.SIGHUP)
        await scene.reloaded(running, 1)
        assert version_of(await scene.ended(id_)) == "v3-as-before"


async def test_a_closed_terminal_stops_the_service(scene: Scene) -> None:
    ours, theirs = os.openpty()
    with scene.start(stdin=theirs) as running:
        os.close(theirs)
        await scene.run("before")
        os.close(ours)
        running.process.send_signal(signal.SIGHUP)
        await until(lambda: running.process.poll() is not None, "it stops")
        assert running.process.returncode == 0
    assert "reloading" not in scene.told()


async def test_a_hangup_that_reaches_the_workers_too_harms_no_run(scene: Scene) -> None:
    with scene.start() as running:
        await scene.run("before")
        held = await scene.enqueue("held", 1.0)
        await until(lambda: "held" in scene.ledger.names("start"), "it runs")
        running.signal_all(signal.SIGHUP)
        await scene.reloaded(running, 1)
        await scene.ended(held)
    assert "died" not in scene.told()


async def test_a_worker_that_is_old_is_replaced_without_a_gap(scene: Scene) -> None:
    with scene.start({"OUTLAST_RECYCLE_AGE": "1s"}) as running:
        await scene.run("before")
        first = running.workers()[0]  # the next may be up already
        long = await scene.enqueue("long", 2.0)
        await scene.tells("s of age")
        await until(lambda: first not in running.workers(), "it leaves")
        await scene.ended(long)
        assert version_of(await scene.run("after")) == "v1"


async def test_a_worker_that_holds_too_much_memory_is_replaced(scene: Scene) -> None:
    with scene.start({"OUTLAST_RECYCLE_MEMORY": str(200 << 20)}) as running:
        await scene.run("before")
        (first,) = running.workers()
        await scene.grow.enqueue(220)
        await scene.tells("MiB of memory")
        await until(lambda: first not in running.workers(), "it leaves")
        await scene.run("after")
    assert scene.told().count("is replaced after") == 1


async def test_recycling_waits_for_a_fresh_worker_that_comes_up(scene: Scene) -> None:
    with scene.start({"OUTLAST_RECYCLE_JOBS": "3"}) as running:
        await scene.run("before")
        (first,) = running.workers()
        scene.deploy("broken", "raise SystemExit(7)\n")
        for n in range(3):
            await scene.run(f"job-{n}")
        await scene.tells("a new worker did not come up")
        assert running.workers() == [first]
        await scene.run("after")
