"""`outlast dev`: one command runs the API and the jobs, follows the code, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.support.command import Project, Running
from tests.support.polling import until
from tests.support.scrapes import Scrape

API = """from pathlib import Path
import asyncio

from fastapi import FastAPI
from outlast import Outlast
from outlast.fastapi import install

app = FastAPI()
shop = Outlast("shop")
VERSION = 1


@shop.job(queue="mail")
async def send(order: int) -> str:
    return f"sent {order} by {VERSION}"


@shop.job(queue="slow")
async def wait(seconds: float) -> None:
    Path("waiting").touch()
    await asyncio.sleep(seconds)


@shop.job(queue="mail", isolate="process")
def draw(order: int) -> str:
    return f"drawn {order}"


@app.get("/version")
async def version() -> int:
    return VERSION


@app.post("/orders/{order}", status_code=202)
async def take(order: int) -> str:
    return (await send.enqueue(order)).id


@app.post("/drawings/{order}", status_code=202)
async def drawing(order: int) -> str:
    return (await draw.enqueue(order)).id


@app.post("/waits/{seconds}", status_code=202)
async def waits(seconds: float) -> str:
    return (await wait.enqueue(seconds)).id


install(app, shop)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, API)


async def address(dev: Running) -> str:
    found = await until(lambda: re.search(r"api +(http://\S+)", dev.text), "the address is printed")
    return str(found[1])


async def gone(dev: Running, family: list[psutil.Process]) -> int:
    """Wait for the end of the command; return its exit code. Nobody of its family may be left."""
    code = await until(lambda: None if dev.process.poll() is None else [dev.process.returncode], "it ends")
    await until(lambda: not any(map(alive, family)), "nothing is left running")
    return int(code[0])


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def ended(project: Project, id: str) -> str:
    """Wait for a job to end; return its result."""

    def look() -> list[str] | None:
        job = project.run("jobs", "show", id, "--json").json
        return [job["result"]] if job["state"] == "succeeded" else None

    return str((await until(look, f"{id} succeeds"))[0])


async def test_one_command_serves_works_reloads_and_stops(project: Project) -> None:
    with project.running("dev", "main:app", "--port", "0") as dev:
        url = await address(dev)
        async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
            job = (await client.post("/orders/7")).json()
            assert await ended(project, job) == "sent 7 by 1"
            drawn = (await client.post("/drawings/8")).json()
            assert await ended(project, drawn) == "drawn 8"
            assert (await client.get(f"/outlast/jobs/{job}")).json()["state"] == "succeeded"
            await until(lambda: f"send {job} succeeded in" in dev.text, "the job's line is printed")
            queues = {each["name"]: each["consumers"] for each in project.run("queues", "--json").json["queues"]}
            assert queues == {"mail": 1, "slow": 1}

            project.write("main.py", API.replace("VERSION = 1", "VERSION = 2"))

            async def new_version() -> bool:
                try:
                    return bool((await client.get("/version")).json() == 2)
                except httpx2.TransportError:  # sent on a connection that the old process was closing
                    return False

            await until(new_version, "the changed code answers")
            assert "main.py changed, restarting" in dev.text
            job = (await client.post("/orders/9")).json()
            assert await ended(project, job) == "sent 9 by 2"
        family = dev.family()
        assert len(family) >= 2
        dev.interrupt()
        assert await gone(dev, family) == 0
    assert f"store    {project.file}  (the default), durability os-crash" in dev.text
    assert "app      shop, 3 kinds of jobs" in dev.text
    assert "queues   mail, slow" in dev.text
    assert dev.text.count('"POST /orders/7 HTTP/1.1" 202') == 1, "a request is one line"
    assert dev.text.count("outlast: stopped; jobs that ended: 1 succeeded") == 1, "told at the stop, not at a reload"
    assert "Traceback" not in dev.text


async def test_metrics_are_of_api_and_worker_also_after_a_reload(project: Project) -> None:
    shown = API.replace("install(app, shop)", "install(app, shop, metrics=True)")
    project.write("main.py", shown)
    with project.running("dev", "main:app", "--port", "0") as dev:
        async with httpx2.AsyncClient(base_url=await address(dev), timeout=30) as client:

            async def told(version: int) -> bool:
                try:
                    if (await client.get("/version")).json() != version:
                        return False
                    found = Scrape((await client.get("/metrics")).text)
                except httpx2.TransportError:
                    return False
                assert found.value("outlast_process_figures") == 1
                assert found.having("outlast_http_request_seconds_count", route="/version")
                return found.value("outlast_queue_consumers", app="shop", queue="mail") == 1

            await until(lambda: told(1), "the worker is shown")
            project.write("main.py", shown.replace("VERSION = 1", "VERSION = 2"))
            await until(lambda: told(2), "the worker of the new process is shown")
        family = dev.family()
        dev.interrupt()
        assert await gone(dev, family) == 0


async def test_broken_code_is_shown_and_waited_for(project: Project) -> None:
    with project.running("dev", "main:app", "--port", "0") as dev:
        url = await address(dev)
        project.write("main.py", API + "\n1 / 0\n")
        await until(lambda: "the app has stopped; it starts again when a file changes" in dev.text, "it says so")
        assert "ZeroDivisionError" in dev.text
        async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
            project.write("main.py", API.replace("VERSION = 1", "VERSION = 3"))
            # The port is kept, so this request waits for the mended code.
            assert (await client.get("/version")).json() == 3
        family = dev.family()
        dev.process.send_signal(signal.SIGTERM)
        assert await gone(dev, family) == 0


async def test_code_that_is_broken_at_the_start_is_waited_for_as_well(project: Project) -> None:
    project.write("main.py", "import nosuch_dependency\n")
    with project.running("dev", "main:app", "--port", "0") as dev:
        await until(lambda: "the app has stopped; it starts again when a file changes" in dev.text, "it says so")
        project.write("main.py", API)
        family = dev.family()
        dev.interrupt()
        assert await gone(dev, family) == 0


async def test_a_reload_gives_running_jobs_back_with_their_attempts(project: Project) -> None:
    with project.running("dev", "main:app", "--port", "0") as dev:
        async with httpx2.AsyncClient(base_url=await address(dev), timeout=30) as client:
            job = (await client.post("/waits/60")).json()
            await until((project.folder / "waiting").exists, "the job runs")
            (project.folder / "waiting").unlink()
            project.write("main.py", API.replace("VERSION = 1", "VERSION = 2"))
            await until((project.folder / "waiting").exists, "the job runs again, in the new child")
        found = project.run("jobs", "show", job, "--json").json
        assert (found["state"], found["attempt"], found["crashes"], found["failures"]) == ("running", 1, 0, [])
        family = dev.family()
        dev.interrupt()
        await until(lambda: "running jobs may end" in dev.text, "it says what it waits for")
        dev.interrupt()
        assert await gone(dev, family) == 0
    assert project.run("jobs", "show", job, "--json").json["state"] == "ready"


async def test_nothing_outlives_a_killed_parent(project: Project) -> None:
    with project.running("dev", "main:app", "--port", "0") as dev:
        async with httpx2.AsyncClient(base_url=await address(dev), timeout=30) as client:
            drawn = (await client.post("/drawings/8")).json()
            assert await ended(project, drawn) == "drawn 8"
        family = dev.family()
        assert len(family) >= 3
        dev.process.kill()
        assert await gone(dev, family) == -signal.SIGKILL


async def test_jobs_without_an_api(project: Project) -> None:
    with project.running("dev", "main:shop", "--port", "0") as dev:
        await until(lambda: "queues   mail, slow" in dev.text, "it says what it works on")
        assert "api " not in dev.text
        family = dev.family()
        dev.interrupt()
        assert await gone(dev, family) == 0


async def test_an_app_that_nothing_is_installed_in(project: Project) -> None:
    bare = API.replace("install(app, shop)\n", "")
    project.write("main.py", bare)
    with project.running("dev", "main:app", "--port", "0", "--no-reload") as dev:
        async with httpx2.AsyncClient(base_url=await address(dev), timeout=30) as client:
            job = (await client.post("/orders/7")).json()
            assert await ended(project, job) == "sent 7 by 1"
        family = dev.family()
        dev.interrupt()
        assert await gone(dev, family) == 0
    project.write("two.py", bare + "\nother = Outlast('other')\n")
    ran = project.run("dev", "two:app", "--port", "0")
    assert (ran.code, "give --jobs with one of two:shop, two:other" in ran.err) == (2, True)
    project.write("none.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    ran = project.run("dev", "none:app", "--port", "0")
    assert (ran.code, "call install(app, shop) of outlast.fastapi, or give --jobs" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "outlast: dev: name the app, such as: outlast dev main:app"),
        (("main",), "outlast: dev: name the app, such as: outlast dev main:app"),
        (("nosuch:app", "--port", "0"), "outlast: dev: no module 'nosuch' in "),
        (("main:nosuch", "--port", "0"), "outlast: dev: module 'main' has no 'nosuch' (try main:app)"),
        (("main:VERSION", "--port", "0"), "outlast: dev: main:VERSION is a int: name the FastAPI (ASGI) app"),
        (("main:shop", "--jobs", "main:shop", "--port", "0"), "outlast: dev: main:shop is an Outlast(...) itself"),
        (("main:app", "--reload-dir", "nosuch", "--port", "0"), "outlast: --reload-dir nosuch: no such folder"),
    ],
)
def test_a_wrong_target_ends_it_at_once(project: Project, arguments: tuple[str, ...], said: str) -> None:
    ran = project.run("dev", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(said)
    assert not project.file.exists()


def test_a_taken_port_is_told(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = project.run("dev", "main:app", "--port", port)
    assert ran.code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err
    assert "give another --port" in ran.err


def test_a_store_that_cannot_be_used_ends_it(project: Project) -> None:
    ran = project.run("dev", "main:app", "--port", "0", env={"OUTLAST_URL": f"sqlite:{os.devnull}/x.db"})
    assert ran.code == 3
    assert "outlast: " in ran.err


async def test_a_task_of_a_job_that_exits_ends_neither_the_api_nor_the_worker(project: Project) -> None:
    project.write(
        "main.py",
        API.replace('    return f"sent', '    await asyncio.gather(leave())\n    return f"sent')
        + "\n\nasync def leave():\n    raise SystemExit(2)\n",
    )
    with project.running("dev", "main:app", "--port", "0", "--no-reload") as dev:
        url = await address(dev)
        async with httpx2.AsyncClient() as client:
            await client.post(f"{url}/orders/1")
            await until(lambda: "SystemExit" in dev.text, "the job has failed")
            assert (await client.get(f"{url}/version")).json() == 1
            drawn = (await client.post(f"{url}/drawings/2")).json()
            await until(
                lambda: project.run("jobs", "show", drawn, "--json").json["state"] == "succeeded", "it is drawn"
            )


async def test_a_broken_import_is_shown_once(project: Project) -> None:
    project.write("main.py", "import nosuch\n" + API)
    ran = project.run("dev", "main:app", "--port", "0", "--no-reload")
    assert ran.code == 1
    assert ran.err.count("Traceback") == 1
    assert "OUTLAST_DEBUG" not in ran.err, "the traceback is there"
    assert "the import failed: ModuleNotFoundError: No module named 'nosuch' (" in ran.err.splitlines()[-1]


async def test_jobs_of_a_killed_parent_are_released_and_no_grace_is_named(project: Project) -> None:
    with project.running("dev", "main:app", "--port", "0") as dev:
        async with httpx2.AsyncClient(base_url=await address(dev), timeout=30) as client:
            await client.post("/waits/3600")
        await until((project.folder / "waiting").exists, "it runs")
        family = dev.family()
        dev.process.kill()
        await gone(dev, family)
    assert "released without further wait: 1 job" in dev.text
    assert "grace period" not in dev.text


@pytest.mark.parametrize(("ignored", "advised"), [("outlast.db*\n", 0), ("*.pyc\n", 1), (None, 0)])
async def test_a_new_file_in_a_repository_is_to_be_ignored(project: Project, ignored: str | None, advised: int) -> None:
    if ignored is not None:
        subprocess.run(["git", "init", "--quiet", str(project.folder)], check=True)
        project.write(".gitignore", ignored)
    environ = {"GIT_CEILING_DIRECTORIES": str(project.folder.parent)}
    for _ in range(2):
        with project.running("dev", "main:app", "--port", "0", env=environ) as dev:
            await address(dev)
            dev.interrupt()
            await gone(dev, dev.family())
    assert dev.text.count("add the line outlast.db* to .gitignore") == advised, "once, when it is made"
