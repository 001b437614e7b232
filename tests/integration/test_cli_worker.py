"""`outlast worker`: the supervisor as it is started in production."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from outlast import Outlast, Settings
from tests.support.cli_app import declare
from tests.support.command import Project
from tests.support.polling import until


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def enqueue(project: Project, number: int) -> None:
    shop = Outlast("shop", settings=Settings(url=project.url))
    jobs = declare(shop)
    async with shop:
        await shop.enqueue_many(jobs.send.message(order, "a@b.c") for order in range(number))


async def test_two_processes_do_the_jobs_and_leave_when_asked(project: Project) -> None:
    await enqueue(project, 500)
    with project.running("worker", "main:shop", "--processes", "2", "--queues", "mail,slow", "-c", "10") as worker:

        def consumers() -> dict[str, int]:
            return {each["name"]: each["consumers"] for each in project.run("queues", "--json").json["queues"]}

        await until(lambda: consumers() == {"mail": 2, "slow": 2, "small": 0}, "both have come up")
        await until(lambda: project.run("queues", "list", "mail", "--json").json["queues"][0]["depth"] == 0, "all done")
        assert len(worker.family()) >= 3
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it ends")
        assert worker.process.returncode == 0
        assert worker.family()[1:] == []
    states = {job["state"] for job in project.run("jobs", "--json", "--limit", "1000").json["jobs"]}
    assert states == {"succeeded"}
    assert "Traceback" not in worker.text


async def test_the_target_may_come_from_the_environment(project: Project) -> None:
    await enqueue(project, 3)
    with project.running("worker", env={"OUTLAST_APP": "main:shop"}) as worker:
        await until(lambda: project.run("queues", "list", "mail", "--json").json["queues"][0]["depth"] == 0, "all done")
        worker.interrupt()
        await until(lambda: worker.process.poll() is not None, "it ends")
        assert worker.process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "outlast: worker: name the Outlast(...), such as: outlast worker main:shop"),
        (("nosuch:shop",), 2, "no module 'nosuch'"),
        (("main:nosuch",), 2, "module 'main' has no 'nosuch'"),
        (
            ("main:shop", "--queues", "nosuch"),
            2,
            "queue 'nosuch' is not declared by this app (declared: mail, slow, small)",
        ),
        (("main:shop", "--processes", "0"), 2, "--processes"),
        (("main:shop", "--max-age", "soon"), 2, "--max-age='soon'"),
        (("--url", "sqlite:x.db"), 2, "No such option: --url"),
    ],
)
def test_a_wrong_command_line(project: Project, arguments: tuple[str, ...], code: int, said: str) -> None:
    ran = project.run("worker", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_a_url_before_the_command_is_refused(project: Project) -> None:
    ran = project.run("--url", "sqlite:x.db", "worker", "main:shop")
    assert (ran.code, "set OUTLAST_URL" in ran.err) == (2, True)
