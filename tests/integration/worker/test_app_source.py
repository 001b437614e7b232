"""A child process knows the jobs of its worker, wherever the app, its jobs and its middleware are declared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlast import Outlast
from outlast.admin.access import StoreAccess
from outlast.admin.doctor import examine
from outlast.enqueue.handle import Handle
from tests.support.command import Project
from tests.support.polling import until
from tests.support.working import working

QUEUE = "from outlast import Outlast\nshop = Outlast('shop')\n"
JOBS = """from {package}queue_ import shop
@shop.job(isolate="process")
def render(report: int) -> str:
    return f"report-{{report}}"
"""
AROUND = """from {package}queue_ import shop
@shop.middleware
async def around(ctx, call_next):
    return f"<{{await call_next()}}>"
"""
WORK = """
import asyncio
from outlast.worker import Worker
async def main():
    async with shop:
        stop = asyncio.Event()
        worker = asyncio.create_task(Worker(await shop.runtime()).run(stop))
        print(await (await render.enqueue(7)).result(timeout=60))
        stop.set()
        await worker
"""
GUARDED = WORK + "if __name__ == '__main__':\n    asyncio.run(main())\n"


def parts(package: str = "") -> dict[str, str]:
    return {
        "queue_.py": QUEUE,
        "tasks.py": JOBS.format(package=package),
        "around.py": AROUND.format(package=package),
    }


IMPORTS = "import around\nfrom queue_ import shop\nfrom tasks import render\n"
RELATIVE = "from . import around\nfrom .queue_ import shop\nfrom .tasks import render\n"
HANDLER = JOBS.partition("\n")[2].format()
LAYOUTS = {
    "module": (parts() | {"main.py": IMPORTS + WORK}, "", ["-c", "import main; main.asyncio.run(main.main())"]),
    "script": (parts() | {"main.py": IMPORTS + GUARDED}, "", ["main.py"]),
    "script elsewhere": (parts() | {"main.py": IMPORTS + GUARDED}, "src", ["src/main.py"]),
    "package": (parts("pkg.") | {"__init__.py": "", "main.py": RELATIVE + GUARDED}, "pkg", ["-m", "pkg.main"]),
    "jobs in the script": (
        parts() | {"main.py": "import around\nfrom queue_ import shop\n" + HANDLER + GUARDED},
        "",
        ["main.py"],
    ),
    "jobs in a module that is run": (
        parts("pkg.")
        | {"__init__.py": "", "main.py": "from . import around\nfrom .queue_ import shop\n" + HANDLER + GUARDED},
        "pkg",
        ["-m", "pkg.main"],
    ),
    "all in the script": ({"main.py": QUEUE + AROUND.partition("\n")[2].format() + HANDLER + GUARDED}, "", ["main.py"]),
    "without the app's name": (
        parts() | {"main.py": "import around, queue_, tasks\nshop, render = queue_.shop, tasks.render\n" + GUARDED},
        "",
        ["main.py"],
    ),
}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "pyproject.toml").touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OUTLAST_", "PYTHONPATH"))}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_isolated_job_runs_in_every_layout(tmp_path: Path, layout: str) -> None:
    files, folder, command = LAYOUTS[layout]
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in files.items():
        (tmp_path / folder / name).write_text(text)
    done = run(tmp_path, *command)
    assert (done.stdout, done.returncode) == ("<report-7>\n", 0), done.stderr


API = """
import around, fastapi, outlast.fastapi, queue_, tasks
app = fastapi.FastAPI()
outlast.fastapi.install(app, queue_.shop)
"""
ASK = """
import asyncio, tasks
async def ask():
    async with tasks.shop:
        print(await (await tasks.render.enqueue(7)).result(timeout=60))
asyncio.run(ask())
"""
COMMANDS = {"dev": ["dev", "main:app", "--port", "0", "--no-reload"], "worker": ["worker", "main:queue_.shop"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_isolated_job_runs_under_every_command(tmp_path: Path, command: str) -> None:
    project = Project(tmp_path, API)
    for name, text in parts().items():
        project.write(name, text)
    with project.running(*COMMANDS[command]) as running:
        done = run(tmp_path, "-c", ASK)
        assert (done.stdout, done.returncode) == ("<report-7>\n", 0), done.stderr + running.text


UNGUARDED = """
import asyncio
from outlast.worker import Worker
async def main():
    async with shop:
        worker = asyncio.create_task(Worker(await shop.runtime()).run(asyncio.Event()))
        job = await render.enqueue(7)
        while not (failures := (await job.record()).failures):
            await asyncio.sleep(0.05)
        print(failures[0].type, failures[0].message)
        worker.cancel()
asyncio.run(main())
"""


def test_a_script_without_a_guard_starts_no_worker_in_its_child(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(QUEUE + HANDLER + UNGUARDED)
    done = run(tmp_path, "main.py")
    assert done.stdout.startswith("NoProcess "), done.stderr
    assert "start it below `if __name__ == '__main__':`" in done.stdout


def only_here() -> None:
    """Is declared by a test, and not by what its child processes import."""


async def test_a_kind_that_the_child_does_not_know_is_told(isolated: Outlast, caplog: pytest.LogCaptureFixture) -> None:
    job = await isolated.job(isolate="process")(only_here).enqueue()
    async with working(isolated, target="tests.support.apps.isolated_app:app"):
        await until(lambda: _failed(job), "the attempt to run it is told")
    found = await job.record()
    assert (found.state, found.attempt, found.crashes) == ("scheduled", 1, 0)
    assert found.failures[0].type == "KindMissing"
    assert "does not know kind 'only_here' after importing tests.support.apps.isolated_app" in found.failures[0].message
    assert any("KindMissing" in each.getMessage() and job.id in each.getMessage() for each in caplog.records)
    told = [
        each for each in await examine(StoreAccess(isolated.settings, "the test")) if each.check == "child processes"
    ]
    assert [each.severity for each in told] == ["error"]
    assert "only_here" in told[0].text


async def _failed(job: Handle[None]) -> bool:
    return bool((await job.record()).failures)
