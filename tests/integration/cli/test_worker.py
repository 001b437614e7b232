"""`outlast worker`: the supervisor as it is started in production."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from outlast import Outlast, Settings
from tests.support.apps.cli_app import declare
from tests.support.command import ROOT, Project
from tests.support.polling import until


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
    assert "starting 2 worker processes of main:shop for mail, slow" in worker.text
    about = f"app shop, 4 kinds, queues mail, slow, store {project.url}, durability os-crash"
    assert worker.text.count(f"running: {about}") == 1
    assert worker.text.count("stopped: 500 runs of jobs ended") == 1


def test_a_target_that_is_no_outlast_hints_at_the_one_beside_it(project: Project) -> None:
    project.write("api.py", "from fastapi import FastAPI\nfrom main import shop\napp = FastAPI()\n")
    ran = project.run("worker", "api:app")
    assert ran.code == 2
    assert "target 'api:app' is a FastAPI: name the Outlast(...) itself (try api:shop)" in ran.err
    assert "starting 1 worker process of" in ran.err


async def test_the_second_stop_signal_is_told_once(project: Project) -> None:
    with project.running("worker", "main:shop") as worker:
        await until(lambda: "running: app shop" in worker.text, "it is up")
        async with Outlast("shop", settings=Settings(url=project.url)) as shop:
            await declare(shop).wait.enqueue("ann", 3600.0)
            running = ("jobs", "--json", "state:running")
            await until(lambda: project.run(*running).json["jobs"], "it runs")
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping: running jobs" in worker.text, "the first is told")
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it ends")
    assert worker.text.count("the grace period is over") == 1
    assert worker.text.count("released without further wait: 1 job") == 1
    assert "after the grace period" not in worker.text


async def test_a_killed_worker_is_named_with_its_job(project: Project) -> None:
    with project.running("worker", "main:shop") as worker:
        await until(lambda: "running: app shop" in worker.text, "it is up")
        async with Outlast("shop", settings=Settings(url=project.url)) as shop:
            job = await declare(shop).wait.enqueue("ann", 3600.0)
            running = ("jobs", "--json", "state:running")
            await until(lambda: project.run(*running).json["jobs"], "it runs")
        (pid,) = [each.pid for each in worker.family() if "outlast.supervisor.child_main" in each.cmdline()]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: f"worker {pid} is dead, 1 job of it run again; crashes counted: 1" in worker.text, "told")
        await until(lambda: f"job {job.id} (wait) crashed in attempt 1" in worker.text, "with its kind")
        assert f"worker process {pid} died" in worker.text


async def test_a_store_that_cannot_be_opened_is_told_once(project: Project) -> None:
    asked = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(ConnectionError):
            asked += b"AUTH" in await reader.read(1 << 10)
            writer.write(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"redis://:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    async with server:
        with project.running("worker", "main:shop", "--processes", "1", env={"OUTLAST_URL": url}) as worker:
            await until(lambda: asked > 4, "it has tried again and again")
            assert worker.text.count("cannot be opened yet") == 1
            assert "rejects this user and password" in worker.text
            assert "secret" not in worker.text
            worker.interrupt()
            await until(lambda: worker.process.poll() is not None, "it ends")
            assert worker.process.returncode == 0


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


OTHER = """from outlast import Outlast

blog = Outlast("blog")


@blog.job(queue="mail")
async def send(post: int) -> None: ...
"""


async def test_a_queue_of_another_app_on_the_same_file_is_refused_at_once(project: Project) -> None:
    await enqueue(project, 1)
    project.write("other.py", OTHER)
    ran = project.run("worker", "other:blog")
    assert (ran.code, ran.out) == (2, "")
    assert "queue 'mail' belongs to app 'shop' in this store, and app 'blog' declares it too" in ran.err
    assert "OUTLAST_BLOG_URL" in ran.err
    dev = project.run("dev", "other:blog", "--port", "0")
    assert (dev.code, "OUTLAST_BLOG_URL" in dev.err) == (2, True)
    (job,) = project.run("jobs", "--json").json["jobs"]
    assert (job["state"], job["attempt"]) == ("ready", 1)
    apart = project.run("config", "show", "--app", "other:blog", env={"OUTLAST_BLOG_URL": "sqlite:blog.db"})
    assert "blog.db" in apart.out


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def shop(:", "SyntaxError"),
        ("import nosuch_library", "No module named 'nosuch_library'"),
        ("import os\nshop = os.nosuch", "has no attribute 'nosuch'"),
    ],
)
def test_a_target_that_cannot_be_imported_ends_it_at_once(project: Project, code: str, said: str) -> None:
    project.write("boom.py", code)
    ran = project.run("worker", "boom:shop", "--processes", "2")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "boom.py" in ran.err
    assert "the next one starts" not in ran.err


SLOW = """
import os, signal, sys, time
from pathlib import Path

if "worker" in sys.argv:
    os.kill(os.getpid(), signal.SIGHUP)
Path(os.environ["TOLD"]).write_text("importing")
while True:
    time.sleep(0.05)
"""
"""A module in place of one that the command imports first, and that goes on only from signals with a handler.

It sends the one that must do nothing to itself, and does not wait in `signal.pause`: a signal from outside could come
just before the pause, which would then last for ever.
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["worker", "dev"])
async def test_a_signal_during_the_imports_is_obeyed(project: Project, command: str, number: signal.Signals) -> None:
    told = project.folder / "told"
    project.write("typer.py", SLOW)
    environ = {"TOLD": str(told), "PYTHONPATH": f"{project.folder}:{ROOT}"}
    with project.running("--app", "main:shop", command, env=environ) as running:
        # Of a worker also a hangup is obeyed: nothing runs yet that could be reloaded, and it goes on.
        await until(lambda: told.exists() and told.read_text() == "importing", "it imports")
        running.process.send_signal(number)
        await until(lambda: running.process.poll() is not None, "it ends")
        assert (running.process.returncode, running.text) == (0, "")


HOOKED = """
import asyncio, os, pathlib
from outlast import Outlast
shop = Outlast("shop")

def say(what):
    with open("said", "a") as file:
        file.write(what + "\\n")

@shop.on_start
async def open_pool():
    await asyncio.sleep(0)
    say("open")
    if pathlib.Path("broken").exists():
        raise ConnectionError("no database")

@shop.on_stop
def close_pool():
    say("close")

@shop.job
async def work(n: int) -> None:
    pathlib.Path("running").touch()
    await asyncio.sleep(0.3)
    say("work")
"""


async def test_hooks_run_before_the_first_job_and_after_the_last(project: Project) -> None:
    project.write("main.py", HOOKED)
    said = project.folder / "said"
    with project.running("worker", "main:shop") as worker:
        assert project.run("call", "main:shop", "work", "--arg", "n=1").code == 0
        await until((project.folder / "running").exists, "the job runs")
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it ends")
        assert worker.process.returncode == 0
    assert said.read_text().split() == ["open", "work", "close"]


async def test_a_start_hook_that_fails_ends_a_worker_that_was_never_ready(project: Project) -> None:
    project.write("main.py", HOOKED)
    (project.folder / "broken").touch()
    with project.running("worker", "main:shop") as worker:
        await until(lambda: worker.process.poll() is not None, "it gives up")
        assert worker.process.returncode not in (0, None)
        assert "the on_start hook open_pool failed: ConnectionError: no database" in worker.text
        assert "died 5 times before they were ready" in worker.text
    assert set((project.folder / "said").read_text().split()) == {"open"}


async def test_an_app_without_jobs_is_told_so(project: Project) -> None:
    project.write("main.py", 'from outlast import Outlast\nshop = Outlast("shop")\nshop.queue("mail")\n')
    ended = project.run("worker", "main:shop")
    assert ended.code == 2
    assert "app 'shop' declares no job" in ended.err


async def test_a_queue_that_no_job_has_and_misspelt_variables_are_told(project: Project) -> None:
    project.write(
        "main.py",
        'from outlast import Outlast\nshop = Outlast("shop")\nshop.queue("mial")\n'
        '@shop.job(queue="mail")\nasync def send() -> None: ...\n',
    )
    env = {"OUTLAST_CONCURENCY": "3", "OUTLAST_SHOP_LEESE": "9", "OUTLAST_CONCURRENCY": "4", "OUTLAST_B_LEASE": "1"}
    with project.running("worker", "main:shop", "-q", "mial,mail", env=env) as worker:
        await until(lambda: "no job of app 'shop' has it" in worker.text, "it tells")
        assert "queue 'mail'" not in worker.text
        assert worker.text.count("OUTLAST_CONCURENCY has no effect: no setting has this name") == 1
        assert worker.text.count("OUTLAST_SHOP_LEESE has no effect: no setting has this name") == 1
        assert "OUTLAST_CONCURRENCY" not in worker.text
        assert "OUTLAST_B_" not in worker.text
